#include "remote/serve_source.h"

#include <string.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "remote/agent_doc.h"
#include "remote/enroll.h"

#define WHAT "job of the controller"
#define DAY_MS INT64_C(86400000)
#define TOLD_MAX 1000 /* noted items, as many as a result takes */

/* What each job begins with. */
struct request {
	const struct root *root;
	struct wire_job *job;
	const json_t *doc;
	struct agent_doc d;
	const char *source;
	struct plan *described; /* holds the source as this host describes it */
};

static void request_release(struct request *q)
{
	plan_free(q->described);
	agent_doc_release(&q->d);
}

static int request_open(struct request *q, struct err *err)
{
	int rc = agent_doc_read(q->doc, &q->d, err);
	if (!rc)
		rc = agent_doc_id(q->doc, "source", &q->source, err);
	return rc ? rc : trust_source(q->root, q->source, &q->d.trust, &q->described, err);
}

/* Enough of a job for what needs no more than a place and a name. */
struct named {
	struct plan plan;
	struct job job;
};

static void named_init(struct named *n, const struct request *q)
{
	*n = (struct named){.plan = {.name = q->d.plan}};
	n->job = (struct job){.root = q->root, .plan = &n->plan};
}

/* The sites, each with a configuration that the pinned root key signed, and the newest of those. */
static int open_sites(const struct request *q, struct sites *sites, struct cfg *cfg, struct err *err)
{
	struct named n;
	named_init(&n, q);
	int rc = agent_doc_open_sites(q->doc, wire_job_wire(q->job), sites, err);
	if (!rc)
		rc = sites_cfg_pinned(&n.job, sites, cfg, err);
	if (!rc && !str_eq(cfg->plan, q->d.plan))
		rc = err_set(err, ERR_FORK, "the sites hold the repository of plan '%s'", cfg->plan);
	return rc;
}

/* --- backup --- */

struct teller {
	struct wire_job *job;
	size_t told;
};

static void show(void *arg, uint64_t files, uint64_t bytes, uint64_t sent)
{
	const struct teller *t = arg;
	CLEAN(json_release) json_t *o = json_pack("{s:I, s:I, s:I}", "files", (json_int_t)files, "bytes", (json_int_t)bytes, "sent", (json_int_t)sent);
	wire_job_progress(t->job, o);
}

static void noted(void *arg, enum note_code code, const char *path, size_t n)
{
	struct teller *t = arg;
	if (code == NOTE_IGNORED || t->told++ >= TOLD_MAX)
		return;
	CLEAN(json_release) json_t *o = json_pack("{s:s}", "noted", note_name(code));
	json_set_path(o, "path", path, n);
	wire_job_progress(t->job, o);
}

static int backup(struct request *q, json_t **ret, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct source_run_result r = {0};
	struct teller t = {.job = q->job};
	const char *run;
	bool dry_run, full_read;
	int64_t patience;
	unsigned char id[16];
	int rc = json_get_hex(q->doc, "run", WHAT, id, sizeof id, err);
	if (!rc)
		rc = json_get_str(q->doc, "run", WHAT, &run, err);
	if (!rc)
		rc = json_get_bool(q->doc, "dry_run", WHAT, &dry_run, err);
	if (!rc)
		rc = json_get_bool(q->doc, "full_read", WHAT, &full_read, err);
	if (!rc)
		rc = json_get_int(q->doc, "patience_ms", WHAT, &patience, err);
	if (!rc && (patience < 0 || patience > DAY_MS))
		rc = err_set(err, ERR_FORMAT, WHAT ": patience_ms is out of range");
	if (!rc)
		rc = open_sites(q, &sites, &cfg, err);
	if (!rc) {
		struct source_run_opts o = {
			.root = q->root,
			.plan = q->d.plan,
			.plan_digest = q->d.plan_digest,
			.source = plan_source(q->described, q->source),
			.cfg = &cfg,
			.site = sites.site,
			.n_sites = sites.n,
			.run_id = run,
			.dry_run = dry_run,
			.full_read = full_read,
			.patience_ms = patience,
			.cancel = (atomic_bool *)(uintptr_t)wire_job_cancel(q->job), /* only read */
			.progress = show,
			.noted = noted,
			.arg = &t,
		};
		rc = source_run(&o, &r, err);
		*ret = agent_doc_of_run(&r, sites.site, sites.n);
	}
	sites_close(&sites);
	return rc;
}

/* --- enrolment --- */

/* The first controller that enrols a source here is the one whose configurations count from then on. */
static int pin_root(const struct request *q, bool may_pin, struct err *err)
{
	struct named n;
	unsigned char told[ED25519_PUB_LEN], pinned[ED25519_PUB_LEN];
	char hex[2 * ED25519_PUB_LEN + 2];
	named_init(&n, q);
	CLEAN(free_ptr) char *path = path_root_pub(&n.job);
	int rc = json_get_hex(q->doc, "root", WHAT, told, sizeof told, err);
	if (rc)
		return rc;
	if (!fs_exists(path) && may_pin) {
		hex_encode(hex, told, sizeof told);
		strcat(hex, "\n");
		return (rc = fs_mkdirs(q->root->keys, 0700, err)) ? rc : fs_create(path, hex, strlen(hex), 0644, err);
	}
	rc = root_pub_load(&n.job, pinned, err);
	if (rc || !memcmp(told, pinned, sizeof told))
		return rc;
	err_set(err, ERR_DENIED, "this host belongs to another installation: its root key is not the one pinned here");
	return err_hint(err, "to give it to another: remove %s there, and know why", path);
}

static int enroll(struct request *q, json_t **ret, struct err *err)
{
	unsigned char repo[REPO_ID_LEN], psk[32];
	CLEAN(secret_release) struct secret secret = {0};
	struct source_keys k = {0};
	bool made, has_psk = json_object_get(q->doc, "psk") != NULL;
	int rc = json_get_hex(q->doc, "repository", WHAT, repo, sizeof repo, err);
	if (!rc && has_psk)
		rc = json_get_b64(q->doc, "psk", WHAT, psk, sizeof psk, err);
	if (!rc)
		rc = pin_root(q, has_psk, err);
	if (rc)
		return rc;
	if (has_psk)
		secret_set(&secret, psk, sizeof psk);
	mem_cleanse(psk, sizeof psk);
	struct enroll e = {.root = q->root, .plan = q->d.plan, .source = q->source, .repo = repo, .psk = has_psk ? &secret : NULL};
	rc = enroll_keys(&e, &k, &made, err);
	if (!rc) {
		*ret = json_pack("{s:o, s:I, s:b}", "public", json_hex(k.sign_pub, ED25519_PUB_LEN), "epoch", (json_int_t)k.epoch, "made", made);
		log_msg(LOG_DEBUG, "source '%s' is enrolled", q->source);
	}
	source_keys_release(&k);
	return rc;
}

static int seal(struct request *q, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct source_keys k = {0};
	int rc = host_keys_find(q->root, q->d.plan, q->source, &k, err);
	if (!rc)
		rc = open_sites(q, &sites, &cfg, err);
	if (!rc && memcmp(cfg.repo, k.repo, REPO_ID_LEN))
		rc = err_set(err, ERR_FORK, "source '%s': its keys belong to another repository than the sites hold", q->source);
	if (!rc)
		rc = enroll_seal(&k, &cfg, &sites, err);
	source_keys_release(&k);
	sites_close(&sites);
	return rc;
}

int serve_source(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err)
{
	CLEAN(request_release) struct request q = {.root = arg, .job = job, .doc = doc};
	int rc = request_open(&q, err);
	if (rc)
		return rc;
	if (str_eq(kind, "backup"))
		return backup(&q, ret, err);
	if (str_eq(kind, "enroll"))
		return enroll(&q, ret, err);
	if (str_eq(kind, "seal"))
		return seal(&q, err);
	return err_set(err, ERR_UNSUPPORTED, "a source agent does not know the job '%.40s'", kind);
}
