#include "session_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "backup/replicate.h"
#include "base/fs.h"
#include "base/str.h"
#include "repo_random.h"
#include "verify/check.h"

struct err err;
struct fixture f;
static unsigned char large[1 << 20];

void set_up(void)
{
	uint64_t state = 5;

	fixture_init_in(&f, 2, true, fixture_fast_dir());
	fill_random(large, sizeof large, &state);
}

void tear_down(void)
{
	fixture_release(&f);
}

/* --- runs --- */

void fill(struct fixture_run *run, const char *text)
{
	struct fixture_entry e[] = {{.path = "large", .mode = S_IFREG | 0644, .content = large, .n = sizeof large},
	        {.path = "text", .mode = S_IFREG | 0644, .content = text, .n = strlen(text)}};

	fixture_add(run, &e[0]);
	fixture_add(run, &e[1]);
}

int try_back_up(const char *text)
{
	struct fixture_run run;

	fixture_begin(&f, &run);
	fill(&run, text);
	return fixture_commit(&run, &err);
}

void back_up(const char *text)
{
	ck_ok(try_back_up(text));
}

void back_up_without(size_t away, const char *text)
{
	struct store *kept = f.store[away];

	f.store[away] = NULL;
	back_up(text);
	f.store[away] = kept;
	ck_assert_int_eq(f.session_site[away].state, SITE_UNREACHABLE);
}

struct store *with_fault(size_t site, const char *rule)
{
	CLEAN(free_ptr) char *dir = fs_join(f.dir, f.name[site]);
	struct store *st;

	ck_ok(store_file_open(dir, &(struct store_config){.name = f.name[site]}, &st, &err));
	ck_ok(store_fault_new(st, (const char *[]){rule, NULL}, &st, &err));
	return st;
}

int back_up_with_fault(size_t site, const char *rule, const char *text)
{
	struct store *kept = f.store[site];

	f.store[site] = with_fault(site, rule);
	int rc = try_back_up(text);

	store_free(f.store[site]);
	f.store[site] = kept;
	return rc;
}

int bring(size_t from, size_t to)
{
	struct replicate_result res;

	return replicate_source(
	        f.store[from], f.store[to], &f.cfg, FIXTURE_SOURCE, &f.log, "0b", f.now, false, &res, &err);
}

/* --- what is there --- */

struct reader *open_one(size_t site, struct reader_site *s)
{
	*s = (struct reader_site){.name = f.name[site], .store = f.store[site]};
	struct reader_opts o = {
	        .site = s, .n_sites = 1, .key = &f.opening, .cfg = &f.cfg, .source = FIXTURE_SOURCE, .workers = 1};
	struct reader *r;

	ck_ok(reader_open(&o, &r, &err));
	return r;
}

void ck_intact(size_t site, size_t snapshots)
{
	struct reader_site s;
	struct reader *r = open_one(site, &s);
	struct check_result c;

	ck_ok(check_data(r, &(struct check_opts){.workers = 1}, &c, &err));
	reader_close(r);
	char *all = json_dumps(c.findings, 0);

	ck_assert_msg(c.snapshots == snapshots && json_array_size(c.findings) == 0, "%s: %llu snapshots: %s",
	        f.name[site], (unsigned long long)c.snapshots, all);
	free(all);
	check_result_release(&c);
}

void ck_text(size_t site, const char *text)
{
	struct reader_site s;
	struct reader *r = open_one(site, &s);
	const struct snapshot *snap = fixture_latest(r);
	struct reader_stream *st;
	const unsigned char *p;
	size_t n, at = 0, len = strlen(text);
	static unsigned char got[sizeof large + 64];

	ck_ok(reader_stream_open(r, STREAM_CONTENT, &snap->facts.root[STREAM_CONTENT], 0, &st, &err));
	while (!reader_stream_next(st, sizeof got - at, &p, &n, &err) && n) {
		ck_assert_uint_le(at + n, sizeof got);
		memcpy(got + at, p, n);
		at += n;
	}
	ck_assert_uint_eq(at, sizeof large + len);
	ck_assert_mem_eq(got, large, sizeof large);
	ck_assert_mem_eq(got + sizeof large, text, len);
	reader_stream_close(st);
	reader_close(r);
}

struct attempts look(size_t site)
{
	struct attempts all;
	size_t bad;

	ck_ok(attempts_load(f.store[site], &f.cfg, FIXTURE_SOURCE, &all, &bad, &err));
	ck_assert_uint_eq(bad, 0);
	return all;
}

const struct attempt_info *of_seq(const struct attempts *all, uint64_t seq)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->a[i].committed && all->a[i].snap.seq == seq)
			return &all->a[i];
	ck_abort_msg("no snapshot %llu", (unsigned long long)seq);
	return NULL;
}

size_t count_keys(size_t site, const char *prefix)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[site], prefix, &k, &err));
	return k.n;
}

bool state_has(const char *name)
{
	CLEAN(free_ptr) char *path = fs_join(f.state, name);

	return fs_exists(path);
}

void save_state(void)
{
	char cmd[512];

	snprintf(cmd, sizeof cmd, "cp -a '%s' '%s/saved'", f.state, f.dir);
	ck_assert_int_eq(system(cmd), 0);
}

void roll_back_state(void)
{
	char cmd[512];

	snprintf(cmd, sizeof cmd, "rm -rf '%s' && mv '%s/saved' '%s'", f.state, f.dir, f.state);
	ck_assert_int_eq(system(cmd), 0);
}
