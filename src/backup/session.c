#include "backup/session_internal.h"

#include <string.h>
#include "base/fs.h"
#include "base/log.h"

const char *site_state_name(enum site_state s)
{
	static const char *const names[] = {"active", "committed", "behind", "unreachable", "failed", "lost"};
	return names[s];
}

const char *session_attempt(const struct session *s)
{
	return s->attempt;
}

struct index *session_index(struct session *s)
{
	return s->index;
}

bool session_usable(const struct session *s, uint32_t pack_no)
{
	return s->usable_no[pack_no];
}

bool session_head_digest(const struct session *s, unsigned char digest[ID_LEN])
{
	if (!s->head.present || !s->head.committed)
		return false;
	memcpy(digest, s->head.digest, ID_LEN);
	return true;
}

void session_site_fail(struct session_site *site, enum site_state state, const struct err *why)
{
	site->state = state;
	site->err = *why;
}

void session_put_copy(struct session *s, struct session_site *site, const char *lineage, uint64_t seq, const struct buf *snapshot)
{
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	if (store_put_same(site->store, key_snapshot(key, 's', s->o.keys->source, lineage, seq), snapshot->p, snapshot->len, &why))
		log_msg(LOG_WARN, "%s (the snapshot is committed all the same)", why.msg);
}

static void start_multi(struct session *s)
{
	struct store **st = xcalloc(s->o.n_sites + 1, sizeof *st);
	s->multi_site = xcalloc(s->o.n_sites + 1, sizeof *s->multi_site);
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (s->o.site[i].state == SITE_ACTIVE) {
			s->multi_site[s->n_multi] = i;
			st[s->n_multi++] = s->o.site[i].store;
		}
	s->multi = store_multi_new(st, s->n_multi, &(struct store_multi_opts){.patience_ms = s->o.patience_ms});
	free(st);
}

int session_begin(const struct session_opts *o, struct session **ret, struct err *err)
{
	struct session *s = xcalloc(1, sizeof *s);
	s->o = *o;
	s->lock_fd = -1;
	s->dir = xstrdup(o->state_dir);
	s->index_dir = fs_join(o->state_dir, "index");
	s->base = xcalloc(o->n_sites + 1, sizeof *s->base);
	s->index = index_new();
	CLEAN(free_ptr) char *lock = fs_join(s->dir, "lock");
	int rc = fs_mkdirs(s->dir, 0700, err);
	if (!rc)
		rc = fs_lock(lock, &s->lock_fd, err);
	if (!rc)
		rc = head_load(s->dir, &s->head, err);
	if (!rc)
		rc = own_attempts_load(s->dir, &s->own, err);
	if (!rc && !o->dry_run)
		rc = session_settle(s, err);
	if (!rc)
		rc = session_choose(s, err);
	if (!rc)
		rc = session_declare(s, err);
	if (rc) {
		session_end(s);
		return rc;
	}
	start_multi(s);
	*ret = s;
	return 0;
}

void session_end(struct session *s)
{
	if (!s)
		return;
	store_multi_free(s->multi);
	for (size_t i = 0; i < s->o.n_sites; i++)
		pack_list_release(&s->base[i]);
	free(s->base);
	free(s->multi_site);
	free(s->usable_no);
	pack_list_release(&s->usable);
	index_free(s->index);
	head_release(&s->head);
	free(s->own.name);
	free(s->dir);
	free(s->index_dir);
	close_fd(&s->lock_fd);
	free(s);
}

void session_put(struct session *s, const char *key, const struct store_src *src, void (*done)(void *arg), void *arg)
{
	if (key[0] == 'i')
		s->deltas_put++;
	store_multi_put(s->multi, key, src, done, arg);
}

unsigned session_width(const struct session *s)
{
	return store_multi_width(s->multi);
}

int session_flush(struct session *s, struct err *err)
{
	store_multi_wait(s->multi);
	size_t alive = 0;
	for (size_t i = 0; i < s->n_multi; i++) {
		struct session_site *site = &s->o.site[s->multi_site[i]];
		const struct err *why = store_multi_error(s->multi, i);
		if (site->state == SITE_ACTIVE && why)
			session_site_fail(site, SITE_FAILED, why);
		alive += site->state == SITE_ACTIVE;
	}
	if (alive)
		return 0;
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (s->o.site[i].state == SITE_FAILED) {
			*err = s->o.site[i].err;
			return err_rc(err);
		}
	return err_set(err, ERR_UNREACHABLE, "source '%s': no site is left", s->o.keys->source);
}

void session_beat(struct session *s)
{
	char key[STORE_KEY_MAX + 1], what[32];
	snprintf(what, sizeof what, "beat.%u", s->beats++);
	session_put(s, key_attempt(key, s->o.keys->source, s->attempt, what), &(struct store_src){NULL, 0}, NULL, NULL);
}
