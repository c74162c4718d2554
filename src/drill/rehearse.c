#include "drill/rehearse.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "drill/drill_stores.h"

#define GRACE_MS 10000

void rehearsal_end_release(struct rehearsal_end *e)
{
	free(e->work);
	*e = (struct rehearsal_end)REHEARSAL_END_INIT;
}

static int make_work(const struct rehearsal *r, char **ret, struct err *err)
{
	const char *suffix = r->planted < 0 ? NULL : negative_name((enum negative)r->planted);
	CLEAN(free_ptr) char *path = drill_work_path(r->j, r->id, suffix);
	int rc = fs_mkdirs(r->j->root->work, 0700, err);
	if (rc)
		return rc;
	if (mkdir(path, 0700))
		return err_sys(err, ERR_IO, "make %s", path);
	*ret = realpath(path, NULL);
	return *ret ? 0 : err_sys(err, ERR_IO, "find %s", path);
}

static void leave_work(const struct rehearsal *r, char *work, struct rehearsal_end *ret)
{
	struct drill_cleanup c = {.removed = true};
	if (r->keep_work) {
		ret->work = work;
		return;
	}
	drill_clean(work, &c);
	ret->mounts_left = c.mounts_left;
	ret->left = !c.removed;
	ret->clean_err = c.err;
	free(work);
}

/* Run it isolated, listen to its end, prove that it is gone. */
static int in_isolation(const struct rehearsal *r, const struct isolated_start *s, struct drill_relay *relay, report_fn line, void *arg,
        struct rehearsal_end *ret, struct err *err)
{
	struct isolated p;
	int rc = isolated_start(s, &p, err);
	ret->began = p.pid > 0;
	if (!rc)
		drill_relay_serve(relay, r->j, r->sites);
	if (!rc)
		rc = report_listen(&p, r->j->cancel, line, arg, err);
	ret->status = isolated_end(&p, rc ? 0 : GRACE_MS);
	ret->gone = ret->status >= 0;
	return rc;
}

int rehearse(const struct rehearsal *r, report_fn line, void *arg, struct rehearsal_end *ret, struct err *err)
{
	CLEAN(drill_relay_close) struct drill_relay relay = DRILL_RELAY_INIT;
	char *work = NULL;
	*ret = (struct rehearsal_end)REHEARSAL_END_INIT;
	int rc = make_work(r, &work, err);
	struct negative_process planted = {
		.kind = r->planted < 0 ? NEGATIVE_CORRUPT_PACK : (enum negative)r->planted,
		.d = {.j = r->j, .site = r->site, .work = work, .declared_ns = r->declared_ns},
	};
	struct isolated_start s = {.want = isolate_of(&r->j->plan->recovery->target->isolate), .stores = -1};
	s.run = r->planted < 0 ? runbook_process : negative_process;
	s.arg = r->planted < 0 ? (void *)&planted.d : (void *)&planted;
	if (!rc && drill_relay_wanted(r->j))
		rc = drill_relay_open(&relay, &s.stores, err);
	if (!rc)
		rc = in_isolation(r, &s, &relay, line, arg, ret, err);
	if (work)
		leave_work(r, work, ret);
	return rc;
}
