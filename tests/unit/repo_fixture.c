#include "repo_fixture.h"

#include <archive.h>
#include <archive_entry.h>
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "base/fs.h"
#include "suite.h"

#define RECORD_MAX (16u << 20)

static struct err err;

static void open_sites(struct fixture *f, bool on_disk)
{
	for (size_t i = 0; i < f->n_sites; i++) {
		char path[128];

		snprintf(f->name[i], sizeof f->name[i], "site-%zu", i);
		snprintf(path, sizeof path, "%s/%s", f->dir, f->name[i]);
		if (on_disk)
			ck_ok(store_file_open(
			        path, &(struct store_config){.name = f->name[i], .create = true}, &f->store[i], &err));
		else
			ck_ok(store_mem_open(path, &f->store[i], &err));
	}
}

static void put_everywhere(struct fixture *f, const char *key, const struct buf *b)
{
	for (size_t i = 0; i < f->n_sites; i++)
		ck_ok(store_put_bytes(f->store[i], key, b->p, b->len, &err));
}

static void make_cfg(struct fixture *f)
{
	struct cfg *c = &f->cfg;
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	memcpy(c->repo, f->repo, REPO_ID_LEN);
	strcpy(c->plan, "test");
	c->time = f->now;
	c->root = xcalloc(c->n_root = 1, sizeof *c->root);
	memcpy(c->root[0], f->root_pub, ED25519_PUB_LEN);
	c->class_ = xcalloc(c->n_classes = 1, sizeof *c->class_);
	strcpy(c->class_->name, "standard");
	strcpy(c->class_->custody, "host");
	c->class_->recipient = xcalloc(c->class_->n_recipients = 1, sizeof *c->class_->recipient);
	c->class_->recipient[0] = f->recipient;
	c->source = xcalloc(c->n_sources = 1, sizeof *c->source);
	strcpy(c->source->name, FIXTURE_SOURCE);
	strcpy(c->source->class_name, "standard");
	c->source->signer = xcalloc(c->source->n_signers = 1, sizeof *c->source->signer);
	c->source->signer->epoch = 1;
	memcpy(c->source->signer->pub, f->keys.sign_pub, ED25519_PUB_LEN);
	c->log = xcalloc(c->n_logs = 1, sizeof *c->log);
	strcpy(c->log->origin, "test/log");
	memcpy(c->log->pub, f->log_pub, ED25519_PUB_LEN);
	ck_ok(cfg_encode(c, &f->root, &b, &err));
	put_everywhere(f, "cfg/0", &b);
}

void fixture_init(struct fixture *f, size_t n_sites, bool on_disk)
{
	fixture_init_in(f, n_sites, on_disk, "/var/tmp");
}

const char *fixture_fast_dir(void)
{
	return access("/dev/shm", W_OK) ? "/var/tmp" : "/dev/shm";
}

void fixture_init_in(struct fixture *f, size_t n_sites, bool on_disk, const char *base)
{
	CLEAN(secret_release) struct secret psk = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	ck_assert_uint_le(n_sites, FIXTURE_SITES);
	crypto_init();
	*f = (struct fixture){.n_sites = n_sites, .now = 1760000000000000000};
	snprintf(f->dir, sizeof f->dir, "%s/holdfast-test.XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	snprintf(f->state, sizeof f->state, "%s/state", f->dir);
	open_sites(f, on_disk);
	memset(f->repo, 0x5a, sizeof f->repo);
	ed25519_generate(&f->root, f->root_pub);
	ed25519_generate(&f->log, f->log_pub);
	opening_key_generate(&f->opening, f->repo, "standard", f->root_pub);
	opening_key_psk(&f->opening, FIXTURE_SOURCE, &psk);
	source_keys_generate(&f->keys, f->repo, FIXTURE_SOURCE, "standard", 1, &psk);
	recipient_init(&f->recipient, f->opening.pub);
	make_cfg(f);
	ck_ok(key_object_seal(&f->keys, &f->recipient, 1, &b, &err));
	put_everywhere(f, "k/" FIXTURE_SOURCE "/1", &b);
}

void fixture_release(struct fixture *f)
{
	for (size_t i = 0; i < f->n_sites; i++)
		store_free(f->store[i]);
	cfg_release(&f->cfg);
	source_keys_release(&f->keys);
	opening_key_release(&f->opening);
	secret_release(&f->root);
	secret_release(&f->log);
	ck_ok(fs_remove_tree(f->dir, &err));
}

char *fixture_object(const struct fixture *f, size_t site, const char *key)
{
	char *path;

	ck_ok(store_local_path(f->store[site], key, &path, &err));
	return path;
}

/* --- records --- */

struct record {
	struct buf *out;
	bool complete; /* what closing adds is not part of it */
};

static la_ssize_t take(struct archive *a, void *arg, const void *p, size_t n)
{
	struct record *r = arg;

	(void)a;
	if (!r->complete)
		buf_add(r->out, p, n);
	return (la_ssize_t)n;
}

static struct archive_entry *make_entry(const struct fixture_entry *e)
{
	struct archive_entry *a = archive_entry_new();

	archive_entry_copy_pathname(a, e->path);
	archive_entry_set_mode(a, e->mode ? e->mode : S_IFREG | 0644);
	archive_entry_set_uid(a, e->uid);
	archive_entry_set_gid(a, e->gid);
	archive_entry_set_mtime(a, e->mtime, e->mtime_ns);
	archive_entry_set_size(a, 0);
	if (e->link)
		archive_entry_copy_symlink(a, e->link);
	if (e->hardlink)
		archive_entry_copy_hardlink(a, e->hardlink);
	else if (S_ISREG(e->mode))
		archive_entry_set_size(a, (la_int64_t)(e->n_extents ? e->size : e->n));
	for (size_t i = 0; i < e->n_extents; i++)
		archive_entry_sparse_add_entry(a, (la_int64_t)e->extents[i].off, (la_int64_t)e->extents[i].len);
	if (e->rdev) {
		archive_entry_set_rdevmajor(a, major(e->rdev));
		archive_entry_set_rdevminor(a, minor(e->rdev));
	}
	if (e->xattr)
		archive_entry_xattr_add_entry(a, e->xattr, e->xattr_value, strlen(e->xattr_value));
	if (e->acl)
		archive_entry_acl_from_text(a, e->acl, ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
	if (e->acl_default)
		archive_entry_acl_from_text(a, e->acl_default, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT);
	return a;
}

void fixture_record(const struct fixture_entry *e, struct buf *out)
{
	struct archive *a = archive_write_new();
	struct archive_entry *entry = make_entry(e);
	struct record r = {.out = out};

	archive_write_set_format_pax(a);
	archive_write_set_options(a, "xattrheader=SCHILY,hdrcharset=BINARY");
	archive_write_set_bytes_per_block(a, 0);
	archive_write_open(a, &r, NULL, take, NULL);
	ck_assert_msg(archive_write_header(a, entry) >= ARCHIVE_WARN, "%s", archive_error_string(a));
	archive_write_data(a, "", 0);
	r.complete = true;
	archive_write_fail(a);
	archive_write_close(a);
	archive_write_free(a);
	archive_entry_free(entry);
}

/* --- runs --- */

void fixture_begin(struct fixture *f, struct fixture_run *run)
{
	struct session_opts so = {.state_dir = f->state,
	        .keys = &f->keys,
	        .cfg = &f->cfg,
	        .site = f->session_site,
	        .n_sites = f->n_sites,
	        .patience_ms = f->patience_ms,
	        .now = f->now};
	struct writer_opts wo = {.keys = &f->keys,
	        .recipient = &f->recipient,
	        .n_recipients = 1,
	        .workers = 2,
	        .fixed_cut = f->fixed_cut,
	        .memory = f->memory};

	*run = (struct fixture_run){.f = f, .facts = {.start = f->now}};
	for (size_t i = 0; i < f->n_sites; i++)
		f->session_site[i] = (struct session_site){.name = f->name[i], .store = f->store[i]};
	snprintf(so.run, sizeof so.run, "%032llx", (unsigned long long)f->now);
	memcpy(run->facts.run, so.run, sizeof so.run);
	ck_ok(session_begin(&so, &run->session, &err));
	wo.session = run->session;
	ck_ok(writer_open(&wo, &run->writer, &err));
}

static void put_content(struct writer *w, const unsigned char *p, size_t n)
{
	bool large = n >= LARGE_FILE;

	ck_ok(writer_content_mode(w, large ? WRITE_LARGE : WRITE_SMALL, &err));
	if (large)
		ck_ok(writer_content_cut(w, &err));
	while (n) {
		size_t room;
		unsigned char *to = writer_room(w, &room);
		size_t now = MIN(room, n);

		memcpy(to, p, now);
		ck_ok(writer_filled(w, now, &err));
		p += now;
		n -= now;
	}
	if (large)
		ck_ok(writer_content_cut(w, &err));
}

void fixture_add_raw(
        struct fixture_run *run, const char *path, const void *header, size_t n_header, const void *content, size_t n)
{
	if (n)
		put_content(run->writer, content, n);
	ck_ok(writer_entry(run->writer, header, n_header, n, path, strlen(path), &err));
	run->facts.entries++;
	run->facts.bytes += n;
}

void fixture_add(struct fixture_run *run, const struct fixture_entry *e)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(RECORD_MAX);

	fixture_record(e, &b);
	fixture_add_raw(run, e->path, b.p, b.len, e->content, e->hardlink ? 0 : e->n);
	if (S_ISREG(e->mode))
		run->facts.files++;
	else if (S_ISDIR(e->mode))
		run->facts.dirs++;
	else
		run->facts.others++;
}

void fixture_drop(struct fixture_run *run)
{
	writer_close(run->writer);
	session_end(run->session);
	pack_list_release(&run->packs);
	run->f->now += 60000000000;
}

int fixture_commit(struct fixture_run *run, struct err *e)
{
	static const unsigned char plan[ID_LEN];
	struct writer_stats stats;
	int rc = writer_finish(run->writer, run->facts.root, &run->packs, e);

	writer_stats(run->writer, &stats);
	run->facts.added = stats.sealed;
	run->facts.end = run->facts.start + 1000000000;
	if (!rc)
		rc = session_commit(run->session, &run->facts, &run->packs, plan, &run->f->result, e);
	fixture_drop(run);
	return rc;
}

void fixture_backup(struct fixture *f, const struct fixture_entry *e, size_t n)
{
	struct fixture_run run;

	fixture_begin(f, &run);
	for (size_t i = 0; i < n; i++)
		fixture_add(&run, &e[i]);
	ck_ok(fixture_commit(&run, &err));
	ck_assert_uint_eq(f->result.committed, f->n_sites);
}

void fixture_grow(struct fixture *f, struct pack_list *packs)
{
	static const unsigned char plan[ID_LEN];
	struct session_opts so = {.state_dir = f->state,
	        .keys = &f->keys,
	        .cfg = &f->cfg,
	        .site = f->session_site,
	        .n_sites = f->n_sites,
	        .run = "0a",
	        .now = f->now};
	struct snapshot_facts facts = {.run = "0a"};
	unsigned char digest[ID_LEN];
	struct session *s;
	char key[STORE_KEY_MAX + 1];

	for (size_t i = 0; i < f->n_sites; i++)
		f->session_site[i] = (struct session_site){.name = f->name[i], .store = f->store[i]};
	ck_ok(session_begin(&so, &s, &err));
	sha256_of(&f->now, sizeof f->now, digest);
	for (size_t i = 0; i < f->n_sites; i++)
		if (f->session_site[i].state == SITE_ACTIVE)
			ck_ok(store_put_bytes(f->store[i], key_pack(key, FIXTURE_SOURCE, session_attempt(s), digest), &f->now,
			        sizeof f->now, &err));
	pack_list_add(packs, digest);
	pack_list_sort(packs);
	ck_ok(session_commit(s, &facts, packs, plan, &f->result, &err));
	session_end(s);
	f->now += 60000000000;
}

struct reader *fixture_reader(struct fixture *f)
{
	struct reader *r;
	struct reader_opts o = {.site = f->reader_site,
	        .n_sites = f->n_sites,
	        .key = &f->opening,
	        .cfg = &f->cfg,
	        .source = FIXTURE_SOURCE,
	        .workers = 2};

	for (size_t i = 0; i < f->n_sites; i++)
		f->reader_site[i] = (struct reader_site){.name = f->name[i], .store = f->store[i]};
	ck_ok(reader_open(&o, &r, &err));
	return r;
}

const struct snapshot *fixture_latest(struct reader *r)
{
	const struct reader_snapshot *s;

	ck_ok(reader_select(r, "latest", &s, &err));
	return &s->snap;
}
