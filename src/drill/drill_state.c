/* What a drill leaves on disk while it runs, and what is made of it when it did not end. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "drill/drill.h"

#define MARKER_MAX (16u << 10)

char *drill_work_path(const struct job *j, const char *id, const char *suffix)
{
	char name[256];
	snprintf(name, sizeof name, "%s-%s%s%s", j->plan->name, id, suffix ? "-" : "", suffix ? suffix : "");
	return fs_join(j->root->work, name);
}

/* --- clean-up --- */

/* Octal escapes of mountinfo, in place. */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		        s[3] <= '7') {
			*to = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to = *s++;
		}
	}
	*to = 0;
}

/* Mount points at or below dir, each to fn; returns their number. */
static size_t mounts_below(const char *dir, void (*fn)(const char *path))
{
	CLEAN(free_ptr) char *line = NULL;
	size_t cap = 0, n = 0, len = strlen(dir);
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && getline(&line, &cap, f) > 0) {
		char *at = line;
		for (int field = 0; at && field < 4; field++) {
			at = strchr(at, ' ');
			at += at != NULL;
		}
		if (!at)
			continue;
		at[strcspn(at, " \n")] = 0;
		unescape(at);
		if (strncmp(at, dir, len) || (at[len] && at[len] != '/'))
			continue;
		n++;
		if (fn)
			fn(at);
	}
	if (f)
		fclose(f);
	return n;
}

static void detach_mount(const char *path)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW))
		log_msg(LOG_WARN, "cannot unmount %s: %s", path, strerror(errno));
}

void drill_clean(const char *dir, struct drill_cleanup *ret)
{
	struct err err = ERR_INIT;
	CLEAN(free_ptr) char *real = realpath(dir, NULL); /* the table of mounts has no others */
	for (int round = 0; real && round < 8 && mounts_below(real, detach_mount); round++)
		continue;
	ret->mounts_left += real ? mounts_below(real, NULL) : 0;
	if (fs_remove_tree(dir, &err) && !ret->err.code)
		ret->err = err;
	ret->removed = ret->removed && !fs_exists(dir);
}

void drill_clean_all(const struct job *j, const char *id, struct drill_cleanup *ret)
{
	CLEAN(free_ptr) char *base = drill_work_path(j, id, NULL);
	const char *slash = strrchr(base, '/');
	const char *name = slash ? slash + 1 : base;
	size_t len = strlen(name);
	ret->removed = true;
	struct dirent **found = NULL;
	int n = scandir(j->root->work, &found, NULL, NULL);
	while (n-- > 0) {
		const char *d = found[n]->d_name;
		if (!strncmp(d, name, len) && (!d[len] || d[len] == '-')) {
			CLEAN(free_ptr) char *path = fs_join(j->root->work, d);
			drill_clean(path, ret);
		}
		free(found[n]);
	}
	free(found);
}

/* "<plan>-<16 hex digits>", and what may follow behind a dash. */
static bool is_work_of(const char *name, const char *plan)
{
	size_t n = strlen(plan);
	return !strncmp(name, plan, n) && name[n] == '-' && strspn(name + n + 1, "0123456789abcdef") == 16 && (!name[n + 17] || name[n + 17] == '-');
}

void drill_clean_stale(const struct job *j)
{
	struct dirent **found = NULL;
	int n = scandir(j->root->work, &found, NULL, NULL);
	while (n-- > 0) {
		if (is_work_of(found[n]->d_name, j->plan->name)) {
			CLEAN(free_ptr) char *path = fs_join(j->root->work, found[n]->d_name);
			struct drill_cleanup c = {.removed = true};
			drill_clean(path, &c);
			log_msg(LOG_WARN, "%s was left by an earlier drill%s", path, c.removed ? ", and is removed" : "");
		}
		free(found[n]);
	}
	free(found);
}

/* --- marker --- */

int drill_marker_open(const struct job *j, struct drill_marker *ret, struct err *err)
{
	*ret = (struct drill_marker)DRILL_MARKER_INIT;
	ret->dir = fs_join(j->root->state, j->plan->name);
	ret->path = fs_join(ret->dir, "drill.json");
	CLEAN(free_ptr) char *lock = fs_join(ret->dir, "drill.lock");
	int rc = fs_mkdirs(ret->dir, 0700, err);
	if (!rc)
		rc = fs_lock(lock, &ret->lock, err);
	if (rc == -ERR_BUSY) {
		err_set(err, ERR_BUSY, "another drill of plan '%s' is under way", j->plan->name);
		err_hint(err, "wait for its end");
	}
	if (rc)
		drill_marker_close(ret);
	return rc;
}

void drill_marker_close(struct drill_marker *m)
{
	close_fd(&m->lock);
	free(m->dir);
	free(m->path);
	*m = (struct drill_marker)DRILL_MARKER_INIT;
}

int drill_marker_write(const struct drill_marker *m, const struct job *j, const char *id, int64_t declared_ns,
        const char *scenario, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(MARKER_MAX);
	char boot[37];
	clock_boot_id(boot);
	CLEAN(json_release)
	json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:s*}", "plan", j->plan->name, "id", id, "pid",
	        (json_int_t)getpid(), "boot", boot, "declared_us", (json_int_t)(declared_ns / 1000), "declared_boot_us",
	        (json_int_t)(clock_boot_ns() / 1000), "scenario", scenario);
	int rc = json_canonical(o, &b, err);
	if (!rc)
		rc = buf_u8(&b, '\n', err);
	return rc ? rc : fs_replace(m->path, b.p, b.len, 0600, err);
}

int drill_marker_remove(const struct drill_marker *m, struct err *err)
{
	if (unlink(m->path) && errno != ENOENT)
		return err_sys(err, ERR_IO, "remove %s", m->path);
	return fs_sync_dir(m->dir, err);
}

struct crashed {
	const char *id, *boot, *scenario;
	int64_t declared_us, declared_boot_us, pid;
};

static int parse_marker(const json_t *o, const char *path, struct crashed *ret, struct err *err)
{
	unsigned char id[8];
	int rc = json_get_str(o, "id", path, &ret->id, err);
	if (!rc)
		rc = json_get_hex(o, "id", path, id, sizeof id, err); /* it becomes part of a path that is removed */
	if (!rc)
		rc = json_get_str(o, "boot", path, &ret->boot, err);
	if (!rc)
		rc = json_get_int(o, "pid", path, &ret->pid, err);
	if (!rc)
		rc = json_get_int(o, "declared_us", path, &ret->declared_us, err);
	if (!rc)
		rc = json_get_int(o, "declared_boot_us", path, &ret->declared_boot_us, err);
	if (!rc && (ret->declared_us < 0 || ret->declared_us > INT64_MAX / 1000 || ret->declared_boot_us < 0 ||
	                   ret->declared_boot_us > INT64_MAX / 1000))
		rc = err_set(err, ERR_FORMAT, "%s: times out of range", path);
	ret->scenario = json_string_value(json_object_get(o, "scenario"));
	return rc;
}

static int tell_crash(const struct job *j, const struct sites *sites, const struct crashed *c,
        const struct drill_cleanup *left, struct err *err)
{
	char boot[37];
	struct result *r = job_result(j, "drill", c->scenario);
	struct err why = ERR_INIT, evidence = ERR_INIT;
	clock_boot_id(boot);
	bool same_boot = str_eq(boot, c->boot);
	err_set(&why, ERR_FAILED, "drill %s did not end: its process %lld is gone%s", c->id, (long long)c->pid,
	        same_boot ? "" : ", and the machine was started again since");
	result_point(r, RESULT_DECLARED, c->declared_us * 1000, same_boot ? c->declared_boot_us * 1000 : 0);
	result_rto_target(r, j->plan->targets->rto_ms);
	result_rpo(r, j->plan->targets->rpo_ms, -1, -1);
	result_extra(r, "crashed",
	        json_pack("{s:s, s:I, s:o}", "id", c->id, "pid", (json_int_t)c->pid, "declared",
	                json_time(c->declared_us * 1000)));
	result_extra(r, "cleanup",
	        json_pack("{s:b, s:I, s:b}", "proven", left->removed && !left->mounts_left, "mounts_left",
	                (json_int_t)left->mounts_left, "work_removed", left->removed));
	result_add_str(r, RESULT_NOT_SHOWN, "anything after the start of this drill: it did not end");
	struct job_end e = {.result = r, .outcome = "crashed", .status = 1, .err = &why, .sites = sites};
	e.body = json_pack("{s:s}", "crashed", c->id);
	(void)job_finish(j, &e, NULL, &evidence);
	result_free(r);
	log_msg(LOG_WARN, "%s; that is in the evidence now", why.msg);
	if (evidence.code) {
		*err = evidence;
		return err_rc(err);
	}
	return 0;
}

/* A marker that cannot be read is kept beside: the crash is told all the same, as far as it is known. */
static int unreadable(const struct drill_marker *m, const struct job *j, const struct sites *sites,
        const struct err *why, struct err *err)
{
	CLEAN(free_ptr) char *aside = fs_join(m->dir, "drill.unreadable.json");
	struct drill_cleanup none = {0};
	log_msg(LOG_WARN, "%s", why->msg);
	struct crashed c = {.id = "unknown", .boot = "", .pid = 0};
	int rc = tell_crash(j, sites, &c, &none, err);
	if (!rc && rename(m->path, aside))
		rc = err_sys(err, ERR_IO, "rename %s", m->path);
	return rc;
}

int drill_marker_recover(const struct drill_marker *m, const struct job *j, const struct sites *sites, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(MARKER_MAX);
	CLEAN(json_release) json_t *o = NULL;
	struct crashed c = {0};
	struct drill_cleanup left = {0};
	struct err why = ERR_INIT;
	int rc = fs_read(m->path, &b, &why);
	if (rc == -ERR_MISSING)
		return 0;
	if (!rc)
		rc = json_parse(b.p, b.len, MARKER_MAX, m->path, &o, &why);
	if (!rc)
		rc = parse_marker(o, m->path, &c, &why);
	if (rc)
		return unreadable(m, j, sites, &why, err);
	drill_clean_all(j, c.id, &left);
	if (left.err.code)
		log_msg(LOG_WARN, "cleaning up after drill %s: %s", c.id, left.err.msg);
	rc = tell_crash(j, sites, &c, &left, err);
	return rc ? rc : drill_marker_remove(m, err);
}

int drill_recover_crashed(const struct job *j, const struct sites *sites, struct err *err)
{
	CLEAN(drill_marker_close) struct drill_marker m = DRILL_MARKER_INIT;
	int rc = drill_marker_open(j, &m, err);
	return rc ? rc : drill_marker_recover(&m, j, sites, err);
}
