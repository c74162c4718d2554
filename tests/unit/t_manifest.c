#include "restore_fixture.h"


/* --- the manifest check --- */

static const struct fixture_entry proof[] = {
        DIR_("d"),
        FILE_("d/a", "the first of some small files"),
        FILE_("d/b", "the second"),
        LINK_("d/l", "b"),
        HARD_("d/m", "d/b"),
        FILE_("d/z", "the last"),
        {.path = "s",
                .mode = S_IFREG | 0644,
                .content = "regions",
                .n = 7,
                .size = 1 << 20,
                .extents = (const struct pax_extent[]){{1 << 19, 7}},
                .n_extents = 1},
};
#define PROOF_N (sizeof proof / sizeof *proof)

static void change_byte(const char *path, off_t off)
{
	CLEAN(close_fd) int fd = open(at(path), O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, "#", 1, off), 1);
}

static void wrong_is(const char *what)
{
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 1);
	ck_assert_msg(strstr(manifest.first_wrong, what) != NULL, "'%s', not '%s'", manifest.first_wrong, what);
}

START_TEST(the_manifest_check_finds_what_was_changed)
{
	static const char *const says[] = {"d/b: its content is not what was recorded", "d/z: its content is not",
	        "d/a: is missing", "d/extra: is in no record", "d/dir: is in no record",
	        "d/a: has mode 0600 where 0644", "d: has mode 0700 where 0755", "d/l: is a link to another name",
	        "d/a: has 30 bytes where 29", "d/m: is no hard link to d/b", "d/l: is of another type",
	        "s: has data where a hole", "s: has data where a hole", "s: its content is not",
	        "d/a: belongs to 1:2 where 0:0", "d/z: is of another type"};

	opts.full_metadata = true;
	back_up(proof, PROOF_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	check_clean();
	switch (_i) {
	case 0:
		change_byte("d/b", 9);
		break;
	case 1:
		change_byte("d/z", 0);
		break;
	case 2:
		unlink(at("d/a"));
		break;
	case 3:
		write_file(at("d/extra"), "");
		break;
	case 4:
		ck_ok(fs_mkdirs(at("d/dir/below"), 0700, &err));
		break;
	case 5:
		chmod(at("d/a"), 0600);
		break;
	case 6:
		chmod(at("d"), 0700);
		break;
	case 7:
		unlink(at("d/l"));
		ck_assert_int_eq(symlink("bb", at("d/l")), 0);
		break;
	case 8:
		change_byte("d/a", 29);
		break;
	case 9:
		unlink(at("d/m"));
		write_file(at("d/m"), "the second");
		break;
	case 10:
		unlink(at("d/l"));
		write_file(at("d/l"), "b");
		chmod(at("d/l"), 0777);
		break;
	case 11:
		change_byte("s", 5000);
		break;
	case 12:
		change_byte("s", (1 << 20) - 1);
		break;
	case 13:
		change_byte("s", (1 << 19) + 3);
		break;
	case 14:
		ck_assert_int_eq(chown(at("d/a"), 1, 2), 0);
		break;
	default:
		unlink(at("d/z"));
		ck_assert_int_eq(mkfifo(at("d/z"), 0644), 0);
	}
	wrong_is(says[_i]);
}
END_TEST
#define N_CHANGES 16

START_TEST(the_manifest_check_of_some_paths_proves_parts_of_chunks)
{
	opts.paths = (const char *const[]){"d/a", "d/z", NULL};
	back_up(proof, PROOF_N);
	restore();
	check_clean();
	ck_assert_uint_eq(manifest.entries, 2);
	ck_assert_uint_eq(manifest.bytes, 37);
	ck_assert_uint_gt(manifest.chunks, 0);
	write_file(at("not asked for"), "");
	check_clean();
	change_byte("d/z", 7);
	wrong_is("d/z: its content is not");
}
END_TEST

START_TEST(several_wrong_entries_are_counted_each_once)
{
	back_up(proof, PROOF_N);
	restore();
	change_byte("d/a", 0);
	chmod(at("d/a"), 0600);
	change_byte("d/b", 0);
	write_file(at("more"), "");
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 3);
}
END_TEST

static Suite *manifest_suite(void)
{
	Suite *s = suite_create("manifest");
	TCase *t = group(s, "manifest", setup);
	tcase_add_loop_test(t, the_manifest_check_finds_what_was_changed, 0, N_CHANGES);
	tcase_add_test(t, the_manifest_check_of_some_paths_proves_parts_of_chunks);
	tcase_add_test(t, several_wrong_entries_are_counted_each_once);
	return s;
}

int main(void)
{
	return suite_main(manifest_suite());
}
