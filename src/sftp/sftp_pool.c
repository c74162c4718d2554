/* The links of a store, and the directories that it knows to be durable: what its threads share. */
#include <string.h>
#include <time.h>
#include "base/mem.h"
#include "sftp/sftp.h"

#define KNOWN_DIRS_MAX 4096
#define WAIT_MS 50 /* how soon a flag is seen */

/* --- links --- */

/* True with an idle link that still stands; those that do not are closed on the way. */
static bool take_idle(struct sftp_store *f, struct sftp_link **ret)
{
	while (f->n_idle) {
		struct sftp_link *l = f->idle[--f->n_idle];

		pthread_mutex_unlock(&f->mutex);
		bool alive = sftp_link_alive(l);

		if (!alive)
			sftp_link_free(l);
		pthread_mutex_lock(&f->mutex);
		if (alive) {
			*ret = l;
			return true;
		}
		f->n_links--;
	}
	return false;
}

static int connect_one(struct sftp_store *f, struct sftp_link **ret, struct err *err)
{
	f->n_links++;
	pthread_mutex_unlock(&f->mutex);
	int rc = sftp_link_new(&f->ssh, ret, err);

	pthread_mutex_lock(&f->mutex);
	if (rc) {
		f->n_links--;
		pthread_cond_signal(&f->freed);
	}
	return rc;
}

static void wait_freed(struct sftp_store *f)
{
	struct timespec until;

	if (clock_gettime(CLOCK_MONOTONIC, &until))
		BUG("clock_gettime failed");
	until.tv_nsec += WAIT_MS * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	(void)pthread_cond_timedwait(&f->freed, &f->mutex, &until);
}

/* With the mutex held. */
static int acquire(struct sftp_store *f, struct sftp_link **ret, struct err *err)
{
	while (!take_idle(f, ret)) {
		if (!f->n_links)
			f->max_links = SFTP_LINKS_MAX;
		if (f->n_links < f->max_links) {
			int rc = connect_one(f, ret, err);

			if (rc != -ERR_UNREACHABLE || !f->n_links)
				return rc;
			f->max_links = f->n_links; /* a server that wants no more: what stands must do */
		}
		if (f->ssh.cancel && atomic_load(f->ssh.cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		wait_freed(f);
	}
	return 0;
}

int sftp_acquire(struct sftp_store *f, struct sftp_link **ret, struct err *err)
{
	*ret = NULL;
	pthread_mutex_lock(&f->mutex);
	int rc = acquire(f, ret, err);

	pthread_mutex_unlock(&f->mutex);
	if (!rc)
		sftp_link_begin(*ret);
	return rc;
}

void sftp_release(struct sftp_store *f, struct sftp_link *l)
{
	if (!l)
		return;
	bool broken = l->broken;

	if (broken)
		sftp_link_free(l);
	pthread_mutex_lock(&f->mutex);
	if (broken)
		f->n_links--;
	else
		f->idle[f->n_idle++] = l;
	pthread_cond_signal(&f->freed);
	pthread_mutex_unlock(&f->mutex);
}

/* --- directories that are known to be durable --- */

static size_t known_place(const struct sftp_store *f, const char *dir)
{
	size_t lo = 0, hi = f->n_known;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(f->known[mid], dir) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool known_at(const struct sftp_store *f, size_t i, const char *dir)
{
	return i < f->n_known && strcmp(f->known[i], dir) == 0;
}

bool sftp_dir_known(struct sftp_store *f, const char *dir)
{
	pthread_mutex_lock(&f->mutex);
	bool found = known_at(f, known_place(f, dir), dir);

	pthread_mutex_unlock(&f->mutex);
	return found;
}

static void forget_all(struct sftp_store *f)
{
	while (f->n_known)
		free(f->known[--f->n_known]);
}

void sftp_dirs_forget(struct sftp_store *f)
{
	pthread_mutex_lock(&f->mutex);
	forget_all(f);
	pthread_mutex_unlock(&f->mutex);
}

void sftp_dir_remember(struct sftp_store *f, const char *dir)
{
	pthread_mutex_lock(&f->mutex);
	if (f->n_known == KNOWN_DIRS_MAX)
		forget_all(f);
	size_t at = known_place(f, dir);

	if (!known_at(f, at, dir)) {
		f->known = xgrow(f->known, f->n_known, &f->cap_known, sizeof *f->known);
		memmove(f->known + at + 1, f->known + at, (f->n_known - at) * sizeof *f->known);
		f->known[at] = xstrdup(dir);
		f->n_known++;
	}
	pthread_mutex_unlock(&f->mutex);
}

void sftp_pool_release(struct sftp_store *f)
{
	while (f->n_idle)
		sftp_link_free(f->idle[--f->n_idle]);
	forget_all(f);
	free(f->known);
}
