/* Copies of the log at sites: bringing them up to date, and fetching a lost log back. */
#include "evidence/log_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "store/site_object.h"

#define HINTS_MAX (1u << 20)

/* --- Publishing --- */

struct pub {
	struct evidence_log *log;
	struct evidence_site *site;
	uint64_t size, offset; /* what the site has, and where that ends in the records file */
	uint64_t line, cp_at;  /* where its line of the checkpoints file begins, and the next one */
	unsigned char root[SHA256_LEN];
};

static void move_to(struct pub *p, const struct cp_line *line, uint64_t begin, uint64_t end)
{
	p->size = line->size;
	p->offset = line->offset;
	p->line = begin;
	p->cp_at = end;
	memcpy(p->root, line->cp.root, sizeof(p->root));
}

static void start_over(struct pub *p)
{
	p->size = p->offset = p->line = p->cp_at = 0;
}

static void object_key(
        char out[128], const struct evidence_log *log, const char *fmt_dir, uint64_t a, uint64_t b, bool range)
{
	if (range)
		snprintf(out, 128, "l/%s/%s/%020llu-%020llu", log->id, fmt_dir, (unsigned long long)a,
		        (unsigned long long)b);
	else
		snprintf(out, 128, "l/%s/%s/%020llu", log->id, fmt_dir, (unsigned long long)a);
}

static int fork_at(const struct pub *p, uint64_t size, struct err *err)
{
	err_set(err, ERR_FORK, "site %s has a checkpoint of log %s at %llu that this log never signed",
	        p->site->store->name, p->log->id, (unsigned long long)size);
	return err_hint(err, "two controllers use one log key, or an old copy of the log was put back");
}

struct signed_note {
	const unsigned char *pub;
	uint64_t size;
	struct evidence_checkpoint cp;
};

static int accept_note(void *arg, const void *p, size_t n, struct err *err)
{
	struct signed_note *s = arg;

	return evidence_note_verify_sized(p, n, s->pub, s->size, &s->cp, err);
}

/* ERR_MISSING: none; ERR_CORRUPT, ERR_FORMAT: none that our key has signed. */
static int checkpoint_there(const struct pub *p, uint64_t size, struct evidence_checkpoint *ret, struct err *err)
{
	struct signed_note s = {.pub = p->log->pub, .size = size};
	char key[128];

	object_key(key, p->log, "checkpoint", size, 0, false);
	int rc = site_object_get(p->site->store, key, EVIDENCE_NOTE_MAX, accept_note, &s, err);

	*ret = s.cp;
	return rc && rc != -ERR_MISSING ? err_wrap(err, "site %s: %s", p->site->store->name, key) : rc;
}

/* What is there of this size, if our key signed it, has to be ours. */
static int check_unforked(const struct pub *p, const struct cp_line *line, struct err *err)
{
	struct evidence_checkpoint cp;
	struct err why = ERR_INIT;
	int rc = checkpoint_there(p, line->size, &cp, &why);

	if (!rc)
		return memcmp(cp.root, line->cp.root, SHA256_LEN) ? fork_at(p, line->size, err) : 0;
	if (site_object_is_damage(why.code))
		return 0;
	*err = why;
	return rc;
}

struct is_ours {
	const void *p;
	size_t n;
};

static int accept_ours(void *arg, const void *p, size_t n, struct err *err)
{
	const struct is_ours *o = arg;

	return n == o->n && !memcmp(p, o->p, n) ? 0 : err_set(err, ERR_CORRUPT, "its bytes are other ones");
}

/* Other bytes than ours under a name of ours: a fork where our key has signed them, which the checkpoint tells (line: its own), else damage. */
static int put_ours(struct pub *p, const struct cp_line *line, const char *key, const void *bytes, size_t n, struct err *err)
{
	struct store *st = p->site->store;
	struct is_ours o = {bytes, n};
	struct err why = ERR_INIT;
	int rc = store_put_bytes(st, key, bytes, n, &why);

	p->site->put += !rc;
	if (rc == -ERR_EXISTS) {
		rc = site_object_get(st, key, EVIDENCE_BATCH_MAX + LINES_MAX, accept_ours, &o, &why);
		if (!rc || !site_object_is_damage(why.code)) {
			if (rc)
				*err = why;
			return rc;
		}
		if (line && (rc = check_unforked(p, line, err)))
			return rc;
		log_msg(LOG_WARN, "site %s: %s is damaged; the right bytes are put beside it", st->name, key);
		rc = site_object_put_beside(st, key, bytes, n, err);
		p->site->beside += !rc;
		return rc;
	}
	if (rc)
		*err = why;
	return rc;
}

/* The note comes last: where it is, its records and its sshsig are. */
static int put_one(struct pub *p, const struct cp_line *line, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(EVIDENCE_BATCH_MAX + LINES_MAX);
	uint64_t n = line->offset - p->offset;
	char key[128], sig_key[136];
	ssize_t got;
	int rc;

	if (line->offset < p->offset || line->size <= p->size)
		return err_set(err, ERR_CORRUPT, "log %s: checkpoints file is out of order", p->log->id);
	rc = buf_reserve(&b, n, err);
	if (rc)
		return rc;
	got = pread(p->log->rec_fd, b.p, n, (off_t)p->offset);
	if (got < 0 || (uint64_t)got != n)
		return err_sys(err, ERR_IO, "log %s: cannot read its records", p->log->id);
	object_key(key, p->log, "records", p->size, line->size - 1, true);
	rc = put_ours(p, line, key, b.p, n, err);
	if (rc)
		return rc;
	object_key(key, p->log, "checkpoint", line->size, 0, false);
	snprintf(sig_key, sizeof(sig_key), "%s.sshsig", key);
	rc = put_ours(p, line, sig_key, line->sshsig, strlen(line->sshsig), err);
	return rc ? rc : put_ours(p, line, key, line->note, strlen(line->note), err);
}

/* Offer every checkpoint from p->cp_at on. */
static int put_rest(struct pub *p, struct err *err)
{
	CLEAN(lines_release) struct lines l;
	const unsigned char *text;
	enum line_kind kind;
	int rc = 0;
	size_t n;

	lines_init(&l, p->log->cp_fd, p->cp_at);
	while (!rc && p->size < p->log->signed_size && (kind = lines_next(&l, &text, &n, err)) != LINE_NONE) {
		CLEAN(cp_line_release) struct cp_line line = {0};

		if (kind != LINE_WHOLE)
			return kind == LINE_ERROR
			               ? -ERR_IO
			               : err_set(err, ERR_CORRUPT, "log %s: checkpoints file is damaged", p->log->id);
		rc = cp_line_parse(text, n, p->log->pub, &line, err);
		if (!rc)
			rc = put_one(p, &line, err);
		if (!rc)
			move_to(p, &line, p->cp_at, l.off);
	}
	return rc;
}

static int keep_last(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct pub *newest = arg; /* only size and log are used */
	uint64_t size;

	(void)st;
	(void)err;
	if (checkpoint_key_size(key, newest->log->id, &size))
		newest->size = size;
	return 0;
}

/* Move p forward to the line of a size; false when the local log has no such checkpoint. */
static bool find_line(struct pub *p, uint64_t size)
{
	CLEAN(lines_release) struct lines l;
	const unsigned char *text;
	uint64_t begin = p->cp_at, at = 0;
	size_t n;

	lines_init(&l, p->log->cp_fd, begin);
	for (; at < size && lines_next(&l, &text, &n, NULL) == LINE_WHOLE; begin = l.off) {
		CLEAN(cp_line_release) struct cp_line line = {0};

		if (cp_line_parse(text, n, p->log->pub, &line, NULL))
			return false;
		at = line.size;
		if (at == size)
			move_to(p, &line, begin, l.off);
	}
	return at == size;
}

/* Find out how far the site is, and that it has nothing that we did not sign. */
static int look(struct pub *p, struct err *err)
{
	struct pub newest = {.log = p->log};
	struct evidence_checkpoint cp;
	char prefix[64], after[128];
	int rc = 0;

	/* The place may have been wiped, or be another one under the same name. */
	if (p->size) {
		rc = checkpoint_there(p, p->size, &cp, err);
		if (!rc && memcmp(cp.root, p->root, sizeof(p->root)) != 0)
			return fork_at(p, p->size, err);
		if (rc && !site_object_is_damage(err->code))
			return rc;
		if (rc)
			start_over(p);
	}
	snprintf(prefix, sizeof(prefix), "l/%s/checkpoint/", p->log->id);
	object_key(after, p->log, "checkpoint", p->size, 0, false);
	rc = store_list(p->site->store, prefix, after, keep_last, &newest, err);
	if (rc || newest.size <= p->size)
		return rc;
	rc = checkpoint_there(p, newest.size, &cp, err);
	if (rc && site_object_is_damage(err->code))
		return 0; /* no word of our key: what it lacks from where it was is offered again */
	if (rc)
		return rc;
	if (cp.size > p->log->signed_size)
		return fork_at(p, cp.size, err);
	/* Without such a line (the checkpoints file was lost and made anew) everything is offered again; readers allow
	 * overlap. */
	if (find_line(p, newest.size) && memcmp(p->root, cp.root, SHA256_LEN) != 0)
		return fork_at(p, newest.size, err);
	return 0;
}

/* A witness that says nothing costs nothing but its cosignature; one that sees a fork is heard. What became of a pinned one is told. */
static int have_cosigned(struct pub *p, unsigned flags, struct err *err)
{
	const char *pin = p->site->pin;
	CLEAN(cp_line_release) struct cp_line line = {0};
	CLEAN(lines_release) struct lines l = {.fd = -1};
	const unsigned char *text;
	struct err why = ERR_INIT;
	size_t n;

	if (pin && p->size && !(p->site->store->caps & STORE_WITNESS))
		(void)err_set(&p->site->witness, ERR_MISSING, "site %s has no witness, and the plan pins %s", p->site->store->name, pin);
	if (!(p->site->store->caps & STORE_WITNESS) || !p->size)
		return 0;
	lines_init(&l, p->log->cp_fd, p->line);
	if (lines_next(&l, &text, &n, NULL) != LINE_WHOLE || cp_line_parse(text, n, p->log->pub, &line, NULL))
		return 0;
	if (!log_cosign(p->log, p->site->store, &line, pin, pin && flags & EVIDENCE_PUBLISH_WITNESS, &why))
		return 0;
	if (why.code == ERR_FORK) {
		*err = why;
		return -ERR_FORK;
	}
	log_msg(LOG_WARN, "%s", why.msg);
	if (pin)
		p->site->witness = why;
	return 0;
}

static int publish_one(struct pub *p, unsigned flags, struct err *err)
{
	CLEAN(free_ptr) char *vkey = evidence_vkey(p->log->pub), *text = NULL;
	char key[64];
	int rc = look(p, err);

	if (rc)
		return rc;
	if (flags & EVIDENCE_PUBLISH_ALL)
		start_over(p);
	if (p->size == 0) {
		BUG_ON(asprintf(&text, "%s\n", vkey) < 0);
		snprintf(key, sizeof(key), "l/%s/key", p->log->id);
		rc = put_ours(p, NULL, key, text, strlen(text), err);
	}
	if (!rc)
		rc = put_rest(p, err);
	return rc ? rc : have_cosigned(p, flags, err);
}

static json_t *load_hints(const struct evidence_log *log)
{
	CLEAN(free_ptr) char *path = log_path(log, "sites.json");
	CLEAN(buf_release) struct buf text = BUF_INIT(HINTS_MAX);
	json_t *o = NULL;

	if (fs_read(path, &text, NULL) || json_parse(text.p, text.len, text.limit, "hints", &o, NULL) ||
	        !json_is_object(o)) {
		json_decref(o);
		return json_object();
	}
	return o;
}

/* A hint names a line of the checkpoints file, and what stands there decides. */
static void apply_hint(struct pub *p, const json_t *hints)
{
	json_int_t at =
	        json_integer_value(json_object_get(hints, p->site->store->name)); /* 0 for none: the first line */
	CLEAN(cp_line_release) struct cp_line line = {0};
	CLEAN(lines_release) struct lines l = {.fd = -1};
	const unsigned char *text;
	char before;
	size_t n;

	if (at <= 0 || (uint64_t)at >= p->log->cp_bytes || pread(p->log->cp_fd, &before, 1, at - 1) != 1 ||
	        before != '\n')
		return;
	lines_init(&l, p->log->cp_fd, (uint64_t)at);
	if (lines_next(&l, &text, &n, NULL) == LINE_WHOLE && cp_line_parse(text, n, p->log->pub, &line, NULL) == 0)
		move_to(p, &line, (uint64_t)at, l.off);
}

int evidence_publish(struct evidence_log *log, struct evidence_site *sites, size_t n, unsigned flags, struct err *err)
{
	CLEAN(json_release) json_t *hints = load_hints(log);
	CLEAN(free_ptr) char *path = log_path(log, "sites.json"), *text = NULL;
	const struct err *worst = NULL;

	for (size_t i = 0; i < n; i++) {
		struct pub p = {.log = log, .site = &sites[i]};
		struct err local = ERR_INIT;

		sites[i].put = sites[i].beside = 0;
		sites[i].witness = (struct err)ERR_INIT;
		if (!(flags & EVIDENCE_PUBLISH_ALL))
			apply_hint(&p, hints);
		if (publish_one(&p, flags, &local) == 0)
			local = (struct err)ERR_INIT;
		sites[i].err = local;
		sites[i].size = p.size;
		if (local.code == ERR_FORK || local.code == ERR_CORRUPT)
			json_object_del(hints, sites[i].store->name);
		else
			json_object_set_new(hints, sites[i].store->name, json_integer((json_int_t)p.line));
		if (local.code && (!worst || (local.code == ERR_FORK && worst->code != ERR_FORK)))
			worst = &sites[i].err;
	}
	text = json_dumps(hints, JSON_COMPACT | JSON_SORT_KEYS);
	if (text && fs_replace(path, text, strlen(text), 0600, NULL) != 0)
		unlink(path); /* a hint that may be stale is worse than none */
	if (!worst)
		return 0;
	if (err)
		*err = *worst;
	return -(int)worst->code;
}

/* --- Fetching --- */

struct fetch {
	struct {
		struct evidence_checkpoint cp;
		char *note, *sshsig;
	} * cps;
	size_t n_cps, cap_cps, at_cp;
	int rec_fd, cp_fd;
	uint64_t n, bytes; /* records written, and their bytes */
	struct merkle tree;
	bool bad; /* records are not those of a checkpoint */
};

static void fetch_release(struct fetch *f)
{
	for (size_t i = 0; i < f->n_cps; i++) {
		free(f->cps[i].note);
		free(f->cps[i].sshsig);
	}
	free(f->cps);
	close_fd(&f->rec_fd);
	close_fd(&f->cp_fd);
}

static int fetch_checkpoint(
        void *arg, const struct evidence_checkpoint *cp, const char *note, const char *sshsig, struct err *err)
{
	struct fetch *f = arg;

	(void)err;
	f->cps = xgrow(f->cps, f->n_cps, &f->cap_cps, sizeof(*f->cps));
	f->cps[f->n_cps].cp = *cp;
	f->cps[f->n_cps].note = xstrdup(note);
	f->cps[f->n_cps++].sshsig = xstrdup(sshsig);
	return 0;
}

static int fetch_record(
        void *arg, uint64_t seq, const struct evidence_record *r, const void *line, size_t n, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(LINES_MAX);
	unsigned char h[SHA256_LEN];
	struct fetch *f = arg;
	int rc;

	/* Batches may overlap: each record counts once. What no checkpoint covers is not ours to sign. */
	if (f->bad || !r || seq != f->n || f->at_cp == f->n_cps)
		return 0;
	merkle_leaf(line, n, h);
	merkle_append(&f->tree, h);
	if (fs_write_full(f->rec_fd, line, n) < 0 || fs_write_full(f->rec_fd, "\n", 1) < 0)
		return err_sys(err, ERR_IO, "cannot write the fetched log");
	f->n++;
	f->bytes += n + 1;
	if (f->cps[f->at_cp].cp.size != f->n)
		return 0;
	merkle_root(&f->tree, h);
	f->bad = memcmp(h, f->cps[f->at_cp].cp.root, sizeof(h)) != 0;
	if (f->bad)
		return 0;
	rc = cp_line_text(f->n, f->bytes, f->cps[f->at_cp].note, f->cps[f->at_cp].sshsig, &text, err);
	if (rc)
		return rc;
	if (fs_write_full(f->cp_fd, text.p, text.len) < 0)
		return err_sys(err, ERR_IO, "cannot write the fetched log");
	f->at_cp++;
	return 0;
}

static int fetch_file(const struct evidence_log *log, const char *name, int *ret, struct err *err)
{
	CLEAN(free_ptr) char *path = log_path(log, name);

	*ret = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *ret < 0 ? err_sys(err, ERR_IO, "cannot create %s", path) : 0;
}

/* Into NAME.fetch: only a whole, verified copy gets the names that open reads. */
static int fetch_from(const struct evidence_log *log, struct store *s, uint64_t want, struct err *err)
{
	CLEAN(fetch_release) struct fetch f = {.rec_fd = -1, .cp_fd = -1};
	const struct copy_fns fns = {.arg = &f, .record = fetch_record, .checkpoint = fetch_checkpoint};
	CLEAN(free_ptr) char *rec = log_path(log, "records"), *rec_new = log_path(log, "records.fetch");
	CLEAN(free_ptr) char *cp = log_path(log, "checkpoints"), *cp_new = log_path(log, "checkpoints.fetch");
	int rc = fetch_file(log, "records.fetch", &f.rec_fd, err);

	if (!rc)
		rc = fetch_file(log, "checkpoints.fetch", &f.cp_fd, err);
	if (!rc)
		rc = copy_read_site(s, log->id, log->pub, &fns, err);
	if (rc)
		return rc;
	if (f.bad || f.n != want)
		return err_set(err, ERR_CORRUPT, "site %s: its copy of log %s is damaged after record %llu", s->name,
		        log->id, (unsigned long long)f.n);
	if (fsync(f.rec_fd) < 0 || fsync(f.cp_fd) < 0 || rename(cp_new, cp) < 0 || rename(rec_new, rec) < 0)
		return err_sys(err, ERR_IO, "log %s: cannot put the fetched copy in place", log->id);
	return fs_sync_dir(log->dir, err);
}

static int newest_size(
        void *arg, const struct evidence_checkpoint *cp, const char *note, const char *sshsig, struct err *err)
{
	(void)note;
	(void)sshsig;
	(void)err;
	*(uint64_t *)arg = cp->size;
	return 0;
}

static int write_key(const struct evidence_log *log, struct err *err)
{
	CLEAN(free_ptr) char *vkey = evidence_vkey(log->pub), *text = NULL, *path = log_path(log, "key");

	BUG_ON(asprintf(&text, "%s\n", vkey) < 0);
	return fs_replace(path, text, strlen(text), 0644, err);
}

/* Every site must answer: to go on from a shorter copy would fork the log. */
int log_fetch(const struct evidence_log *log, struct store *const *sites, size_t n, struct err *err)
{
	CLEAN(free_ptr) uint64_t *size = xcalloc(n + 1, sizeof(*size));
	uint64_t most = 0;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		const struct copy_fns fns = {.arg = &size[i], .checkpoint = newest_size, .newest_only = true};

		rc = copy_read_site(sites[i], log->id, log->pub, &fns, err);
		if (rc) {
			err_wrap(err, "log %s is lost here, and all sites must tell how far it went", log->id);
			return rc;
		}
		most = MAX(most, size[i]);
	}
	if (!most) {
		err_set(err, ERR_MISSING, "log %s: its records are lost, and no site has a copy", log->id);
		return err_hint(err, "move the log key aside to begin a new log");
	}
	rc = fs_mkdirs(log->dir, 0700, err);
	if (!rc)
		rc = write_key(log, err);
	if (rc)
		return rc;
	rc = -ERR_MISSING;
	for (size_t i = 0; rc && i < n; i++)
		if (size[i] == most)
			rc = fetch_from(log, sites[i], most, err);
	return rc;
}
