/* Input: a plan; or behind a byte 1 a source's file, behind 2 a calendar rule, behind 3 a time zone. */
#include "plan/plan.h"

#include <string.h>
#include "base/mem.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a buffer on some texts that it refuses. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

/* Whatever loads can be judged and shown, and what is shown loads again. */
static void use_plan(const struct plan *p)
{
	struct plan_facts facts = PLAN_FACTS_INIT;
	struct plan_findings found;
	struct plan_diags diags = PLAN_DIAGS_INIT;
	struct plan *again = NULL;
	struct err err = {0};
	facts.now_ns = 1800000000000000000;
	plan_lint(p, &facts, &found);
	plan_findings_release(&found);
	json_t *j = plan_to_json(p);
	char *text = json_dumps(j, JSON_COMPACT);
	BUG_ON(!text);
	/* Escapes make a text longer: only a file that stays below the ceilings has to come back. */
	if (strlen(text) < PLAN_FILE_MAX / 2 && plan_load_bytes("again", text, strlen(text), &again, &diags, &err))
		BUG("%s: %s", err.msg, text);
	plan_free(again);
	plan_diags_release(&diags);
	free(text);
	json_decref(j);
}

static void try_plan(const uint8_t *data, size_t size, bool source)
{
	struct plan *p = NULL;
	struct plan_diags diags = PLAN_DIAGS_INIT;
	struct err err = {0};
	int rc = source ? plan_source_load_bytes("fuzz", data, size, &p, &diags, &err)
	                : plan_load_bytes("fuzz", data, size, &p, &diags, &err);
	BUG_ON(rc && rc != -ERR_USAGE);
	BUG_ON((rc == 0) != (diags.n_errors == 0) || (rc == 0) != (p != NULL));
	CLEAN(buf_release) struct buf out = BUF_INIT(1 << 22);
	BUG_ON(plan_diags_print(&diags, &out, &err));
	if (p && !source)
		use_plan(p);
	plan_free(p);
	plan_diags_release(&diags);
}

static void try_cron(const uint8_t *data, size_t size)
{
	struct cron c;
	struct err err = {0};
	size_t col = 0;
	char *text = xstrndup((const char *)data, size);
	struct tz *tz = NULL;
	if (cron_parse(text, &c, &col, &err) == 0) {
		BUG_ON(tz_load("UTC", &tz, &err));
		int64_t t = cron_next(&c, tz, 1800000000000000000);
		BUG_ON(t >= 0 && t <= 1800000000000000000);
	} else {
		BUG_ON(col > strlen(text));
	}
	tz_free(tz);
	free(text);
}

static void try_zone(const uint8_t *data, size_t size)
{
	struct tz *tz = NULL;
	struct cron c;
	struct err err = {0};
	if (tz_parse(data, size, &tz, &err))
		return;
	for (int64_t t = 0; t < 4000000000; t += 123456789) {
		int32_t off = tz_offset(tz, t);
		BUG_ON(off < -8 * 86400 || off > 8 * 86400);
	}
	BUG_ON(cron_parse("30 2 * * *", &c, NULL, &err));
	(void)cron_next(&c, tz, 1800000000000000000);
	tz_free(tz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0]) {
	case 1:
		try_plan(data + 1, size - 1, true);
		break;
	case 2:
		try_cron(data + 1, size - 1);
		break;
	case 3:
		try_zone(data + 1, size - 1);
		break;
	default:
		try_plan(data, size, false);
	}
	return 0;
}
