#include "backup/head.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

#define HEAD_MAX (1u << 20)

void head_release(struct head *h)
{
	free(h->at);
	*h = (struct head){0};
}

const struct head_at *head_find(const struct head *h, const char *site)
{
	for (size_t i = 0; i < h->n_at; i++)
		if (str_eq(h->at[i].site, site))
			return &h->at[i];
	return NULL;
}

void head_set_at(struct head *h, const char *site, const char *attempt, unsigned depth)
{
	struct head_at *at = (struct head_at *)head_find(h, site);
	if (!at) {
		h->at = xrealloc(h->at, (h->n_at + 1) * sizeof *h->at);
		at = &h->at[h->n_at++];
		*at = (struct head_at){0};
		str_copy(at->site, sizeof at->site, site);
	}
	memcpy(at->attempt, attempt, NAME16);
	at->depth = depth;
	h->committed = true;
}

void head_advance(struct head *h, const char *lineage, uint64_t seq, const unsigned char digest[ID_LEN])
{
	head_release(h);
	h->present = true;
	memcpy(h->lineage, lineage, NAME16);
	h->seq = seq;
	memcpy(h->digest, digest, ID_LEN);
}

static int get_name16(const json_t *o, const char *key, char out[NAME16], struct err *err)
{
	const char *s;
	int rc = json_get_str(o, key, "state", &s, err);
	if (rc)
		return rc;
	if (!format_name16_ok(s))
		return err_set(err, ERR_FORMAT, "state: %s is not a name", key);
	memcpy(out, s, NAME16);
	return 0;
}

static int parse_head(const json_t *o, struct head *h, struct err *err)
{
	json_t *at;
	int64_t seq;
	size_t i;
	json_t *v;
	if (get_name16(o, "lineage", h->lineage, err) || json_get_int(o, "seq", "head", &seq, err) || json_get_hex(o, "digest", "head", h->digest, ID_LEN, err) ||
		json_get_bool(o, "committed", "head", &h->committed, err) || json_get_arr(o, "at", "head", &at, err))
		return err_rc(err);
	bool committed = h->committed;
	h->seq = (uint64_t)seq;
	json_array_foreach(at, i, v) {
		const char *site;
		char attempt[NAME16];
		int64_t depth;
		if (json_get_str(v, "site", "head", &site, err) || get_name16(v, "attempt", attempt, err) || json_get_int(v, "depth", "head", &depth, err))
			return err_rc(err);
		head_set_at(h, site, attempt, (unsigned)depth);
	}
	h->committed = committed;
	h->present = true;
	return 0;
}

int head_load(const char *dir, struct head *ret, struct err *err)
{
	struct err e = ERR_INIT;
	*ret = (struct head){0};
	CLEAN(buf_release) struct buf b = BUF_INIT(HEAD_MAX);
	CLEAN(free_ptr) char *path = fs_join(dir, "head");
	int rc = fs_read(path, &b, err);
	if (rc)
		return rc == -ERR_MISSING ? 0 : rc;
	CLEAN(json_release) json_t *o = NULL;
	if (json_parse(b.p, b.len, HEAD_MAX, "head", &o, &e) || parse_head(o, ret, &e)) {
		log_msg(LOG_WARN, "%s: %s; a new lineage begins", path, e.msg);
		head_release(ret);
	}
	return 0;
}

int head_save(const char *dir, const struct head *h, struct err *err)
{
	CLEAN(json_release) json_t *o = json_object();
	json_t *at = json_array();
	json_object_set_new(o, "lineage", json_string(h->lineage));
	json_object_set_new(o, "seq", json_integer((json_int_t)h->seq));
	json_object_set_new(o, "digest", json_hex(h->digest, ID_LEN));
	json_object_set_new(o, "committed", json_boolean(h->committed));
	for (size_t i = 0; i < h->n_at; i++)
		json_array_append_new(at, json_pack("{s:s, s:s, s:i}", "site", h->at[i].site, "attempt", h->at[i].attempt, "depth", (int)h->at[i].depth));
	json_object_set_new(o, "at", at);
	CLEAN(buf_release) struct buf b = BUF_INIT(HEAD_MAX);
	CLEAN(free_ptr) char *path = fs_join(dir, "head");
	int rc = json_canonical(o, &b, err);
	return rc ? rc : fs_replace(path, b.p, b.len, 0600, err);
}

void pending_release(struct pending *p)
{
	buf_release(&p->fate);
}

static char *pending_path(const char *dir, const char *site)
{
	CLEAN(free_ptr) char *d = fs_join(dir, "pending");
	return fs_join(d, site);
}

int pending_begin(const char *dir, struct err *err)
{
	CLEAN(free_ptr) char *now = fs_join(dir, "pending");
	CLEAN(free_ptr) char *next = fs_join(dir, "pending.new");
	int rc = fs_remove_tree(next, err);
	if (!rc)
		rc = fs_mkdirs(now, 0700, err);
	return rc ? rc : fs_mkdirs(next, 0700, err);
}

int pending_save(const char *dir, const struct pending *p, struct err *err)
{
	CLEAN(free_ptr) char *next = fs_join(dir, "pending.new");
	CLEAN(free_ptr) char *path = fs_join(next, p->site);
	CLEAN(json_release) json_t *o = json_pack("{s:s, s:s, s:I, s:i}", "attempt", p->attempt, "lineage", p->lineage, "seq", (json_int_t)p->seq, "depth", (int)p->depth);
	json_object_set_new(o, "digest", json_hex(p->digest, ID_LEN));
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX + HEAD_MAX);
	if (json_canonical(o, &b, err) || buf_u8(&b, '\n', err) || buf_put(&b, p->fate.p, p->fate.len, err))
		return err_rc(err);
	return fs_replace(path, b.p, b.len, 0600, err);
}

/* Entries of `from` that `to` has none of its own for. */
static int carry_over(const char *from, const char *to, struct err *err)
{
	DIR *d = opendir(from);
	int rc = d ? 0 : err_sys(err, ERR_IO, "cannot read %s", from);
	for (const struct dirent *e; !rc && (e = readdir(d));) {
		CLEAN(free_ptr) char *a = fs_join(from, e->d_name);
		CLEAN(free_ptr) char *b = fs_join(to, e->d_name);
		if (str_is_id(e->d_name) && link(a, b) && errno != EEXIST)
			rc = err_sys(err, ERR_IO, "cannot keep %s", a);
	}
	if (d)
		closedir(d);
	return rc;
}

int pending_publish(const char *dir, struct err *err)
{
	CLEAN(free_ptr) char *now = fs_join(dir, "pending");
	CLEAN(free_ptr) char *next = fs_join(dir, "pending.new");
	int rc = carry_over(now, next, err);
	if (!rc)
		rc = fs_sync_dir(next, err);
	if (!rc && renameat2(AT_FDCWD, next, AT_FDCWD, now, RENAME_EXCHANGE))
		rc = err_sys(err, ERR_IO, "cannot exchange %s", now);
	if (!rc)
		rc = fs_sync_dir(dir, err);
	return rc ? rc : fs_remove_tree(next, err);
}

static int pending_load(const char *path, const char *site, struct pending *p, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX + HEAD_MAX);
	CLEAN(json_release) json_t *o = NULL;
	int64_t seq, depth;
	int rc = fs_read(path, &b, err);
	if (rc)
		return rc;
	const unsigned char *nl = b.len ? memchr(b.p, '\n', b.len) : NULL;
	if (!nl)
		return err_set(err, ERR_FORMAT, "%s is cut short", path);
	size_t line = (size_t)(nl - b.p);
	if (json_parse(b.p, line, HEAD_MAX, "pending", &o, err) || get_name16(o, "attempt", p->attempt, err) || get_name16(o, "lineage", p->lineage, err) ||
		json_get_int(o, "seq", "pending", &seq, err) || json_get_int(o, "depth", "pending", &depth, err) ||
		json_get_hex(o, "digest", "pending", p->digest, ID_LEN, err) || buf_put(&p->fate, nl + 1, b.len - line - 1, err))
		return err_rc(err);
	p->seq = (uint64_t)seq;
	p->depth = (unsigned)depth;
	str_copy(p->site, sizeof p->site, site);
	return 0;
}

int pending_each(const char *dir, bool (*fn)(void *arg, struct pending *p), void *arg, struct err *err)
{
	CLEAN(free_ptr) char *d = fs_join(dir, "pending");
	DIR *h = opendir(d);
	if (!h)
		return 0;
	struct dirent *e;
	while ((e = readdir(h))) {
		struct err why = ERR_INIT;
		if (!str_is_id(e->d_name))
			continue;
		CLEAN(free_ptr) char *path = fs_join(d, e->d_name);
		CLEAN(pending_release) struct pending p = {.fate = BUF_INIT(FATE_MAX)};
		int rc = pending_load(path, e->d_name, &p, &why);
		if (rc && why.code != ERR_FORMAT) {
			closedir(h);
			*err = why;
			return rc;
		}
		if (rc)
			log_msg(LOG_WARN, "%s; it was never acknowledged and is dropped", why.msg);
		if (rc || fn(arg, &p))
			unlink(path);
	}
	closedir(h);
	return 0;
}

void pending_remove(const char *dir, const char *site)
{
	CLEAN(free_ptr) char *path = pending_path(dir, site);
	unlink(path);
}

int own_attempts_load(const char *dir, struct own_attempts *ret, struct err *err)
{
	*ret = (struct own_attempts){0};
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	CLEAN(free_ptr) char *path = fs_join(dir, "attempts");
	int rc = fs_read(path, &b, err);
	if (rc)
		return rc == -ERR_MISSING ? 0 : rc;
	ret->name = xcalloc(OWN_ATTEMPTS_MAX + 1, sizeof *ret->name);
	char *save = NULL;
	for (char *line = strtok_r((char *)buf_str(&b), "\n", &save); line && ret->n < OWN_ATTEMPTS_MAX; line = strtok_r(NULL, "\n", &save))
		if (format_name16_ok(line))
			memcpy(ret->name[ret->n++], line, NAME16);
	return 0;
}

int own_attempts_save(const char *dir, const struct own_attempts *a, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	CLEAN(free_ptr) char *path = fs_join(dir, "attempts");
	for (size_t i = 0; i < a->n; i++)
		buf_addf(&b, "%s\n", a->name[i]);
	return fs_replace(path, b.p ? b.p : (const void *)"", b.len, 0600, err);
}
