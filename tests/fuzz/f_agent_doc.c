/* Input: a JSON document as a controller and an agent hand it to each other; read as a job, as a run's result and as a restore's. */
#include <string.h>
#include "base/mem.h"
#include "crypto/crypto.h"
#include "remote/agent_doc.h"
#include "job/restore_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_job(const json_t *doc)
{
	struct agent_doc d;
	const char *id;
	if (!agent_doc_read(doc, &d, NULL)) {
		if (!d.plan || !*d.plan || (d.trust.signature && strlen(d.trust.signature) > d.trust.n_signature))
			abort();
		agent_doc_release(&d);
	}
	(void)!agent_doc_id(doc, "source", &id, NULL);
}

/* What was taken in can be told again, and is then the same. */
static void as_run(const json_t *doc)
{
	struct session_site site[2] = {{.name = "north"}, {.name = "south"}}, again[2] = {{.name = "north"}, {.name = "south"}};
	struct source_run_result r, r2;
	if (agent_doc_read_run(doc, &r, site, 2, NULL))
		return;
	CLEAN(json_release) json_t *o = agent_doc_of_run(&r, site, 2);
	if (agent_doc_read_run(o, &r2, again, 2, NULL) || memcmp(&r, &r2, sizeof r) || site[0].state != again[0].state)
		abort();
}

static void as_restore(const json_t *doc)
{
	CLEAN(result_free_ptr) struct result *res = result_new(&(struct result_identity){.kind = "restore", .plan = "far", .plan_version = -1});
	unsigned char digest[ID_LEN];
	int status = 0;
	(void)!restore_tell(doc, res, &status, digest, NULL);
	result_finish(res, status ? "failed" : "done", status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(json_release) json_t *doc = NULL;
	if (json_parse(data, size, 1 << 20, "fuzz", &doc, NULL))
		return 0;
	crypto_init();
	log_set(LOG_ERROR, false);
	as_job(doc);
	as_run(doc);
	as_restore(doc);
	return 0;
}
