/*
 * Continuity plans: the model, its loader, the linter, the calendar, requirement catalogues and templates.
 *
 *   struct plan *plan = NULL;
 *   struct plan_diags diags = PLAN_DIAGS_INIT;
 *   if (plan_load_file("ca.yaml", &plan, &diags, &err)) plan_diags_print(&diags, &text);
 *   ... plan->sources[i].name ...
 *   plan_free(plan); plan_diags_release(&diags);
 *
 * A plan is read-only once loaded; everything it points to lives in its arena and goes with plan_free(). Plans are free
 * of globals, so any number may be used by any threads; one plan may be read by several threads. Conventions of the
 * model: a string that was not given is NULL; an object that was not given is a NULL pointer; a duration (milliseconds)
 * or number that was not given and has no default is -1; a size that was not given is 0; a list that was not given has
 * n == 0 and still a v that is NULL-terminated. Defaults of schema.def are already filled in. The loader is total: any
 * bytes end in a plan or in diagnostics, within bounded memory and time.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "base/json.h"

#define PLAN_FILE_MAX (1u << 20) /* bytes of a plan file */
#define PLAN_DEPTH_MAX 12        /* nesting of a plan file */
#define PLAN_DIAGS_MAX 100       /* further ones are counted, not kept */
#define PLAN_DIGEST_LEN 32

struct plan_place {
	int line, col; /* 1-based, in characters; 0: the value was not in the file */
};

/* Strings, NULL-terminated: an argument vector, ids, patterns, paths. */
struct plan_list {
	struct plan_place at;
	const char *const *v;
	size_t n;
};
struct plan_lists {
	const struct plan_list *v;
	size_t n;
};
struct plan_pair {
	struct plan_place at;
	const char *name, *value;
};
struct plan_pairs { /* environment of a command, in the order of the file */
	const struct plan_pair *v;
	size_t n;
};

/* A calendar rule in parsed form: bit i of a field is set when value i matches. */
struct cron {
	uint64_t minute;
	uint32_t hour, mday, month, wday;
	bool any_mday, any_wday; /* begins with "*": a day must match both; when neither does, either is enough */
	bool every_hour; /* hour field admits all hours: the rule follows elapsed time, not the clock on the wall */
};
struct plan_cron {
	struct plan_place at;
	const char *text; /* NULL: not given */
	struct cron rule;
};

struct plan_geo {
	struct plan_place at;
	double lat, lon;     /* degrees */
	const char *address; /* may be NULL */
};
struct plan_owner {
	struct plan_place at;
	const char *name, *contact;
	struct plan_list deputies;
};
struct plan_review {
	struct plan_place at;
	int64_t due_ns; /* wall time, midnight UTC of the date */
	int64_t version;
};
struct plan_targets {
	struct plan_place at;
	int64_t rto_ms, rpo_ms, mtpd_ms; /* mtpd -1: not given */
};
struct plan_activation {
	struct plan_place at;
	struct plan_list when, deactivation;
};

enum plan_cut { PLAN_CUT_AUTO, PLAN_CUT_FIXED };
/* What is protected. Exactly one of paths, command and follow is given. */
struct plan_source {
	struct plan_place at;
	const char *name;
	const char *host;         /* "local" or "ssh://user@host[:port]" */
	const char *identity, *known_hosts; /* files for SSH, absolute */
	struct plan_list paths;   /* absolute */
	struct plan_list command; /* its standard output is the copy */
	const char *follow;       /* spool directory shipped continuously */
	struct plan_list holds;   /* among data, configuration, cloud-export, keys, logs: what an auditor asks for */
	uint64_t min_size;        /* a smaller copy is a failure */
	struct plan_list exclude, exclude_if_present; /* patterns; marker file names */
	struct plan_list exclude_from;                /* files of patterns, absolute */
	bool exclude_caches, one_file_system;
	struct plan_lists before, after; /* hooks; after runs whatever happened */
	struct plan_pairs env;           /* of command and hooks; a value may be a secret reference */
	const char *cwd;                 /* of command and hooks, absolute or NULL */
	int64_t timeout_ms;              /* of command and of each hook */
	enum plan_cut cut;
	int64_t level; /* zstd level 1 to 12 */
};

struct plan_bandwidth {
	struct plan_place at;
	uint64_t limit; /* bytes a second, 0: none */
	int64_t from_min,
	        to_min; /* window in local minutes of the day, from inclusive to exclusive, may wrap; -1: always */
};
struct plan_site {
	struct plan_place at;
	const char *name;
	const char *url;  /* file:///dir, sftp://, ssh:// (vault), s3://, never with a password */
	const char *zone; /* network zone, may be NULL */
	struct plan_geo *location;
	int64_t immutable_ms; /* promised lock of each object, -1: none */
	struct plan_bandwidth *bandwidth;
	const char *identity, *known_hosts;      /* files for SSH, absolute */
	const char *witness;                     /* verifier key of a vault's witness (crypto/note_key.h), or NULL: none is pinned */
	const char *access_key, *secret_key, *session_token; /* secret references for S3 */
	const char *region, *endpoint, *ca_file; /* S3 */
};
struct plan_copies {
	struct plan_place at;
	int64_t min;             /* copies that must exist */
	int64_t min_distance_km; /* from service to the farthest copy, -1: not given */
};
struct plan_service {
	struct plan_place at;
	const char *zone;
	struct plan_geo *location;
};

enum plan_exercise {
	PLAN_REVIEW,
	PLAN_WALKTHROUGH,
	PLAN_TABLETOP,
	PLAN_CALL_TREE,
	PLAN_COMPONENT_RESTORE,
	PLAN_FUNCTIONAL,
	PLAN_FULL_SCALE,
	PLAN_SWITCHOVER
};
struct plan_drill_slot {
	struct plan_place at;
	const char *name; /* also the name of the scenario */
	enum plan_exercise kind;
	struct plan_cron cron;
	int64_t window_ms; /* it must have started this long after its slot */
};
struct plan_verify_data {
	struct plan_place at;
	struct plan_cron every;
	int64_t full_cycle_ms; /* every byte is read at least once in this time */
};
struct plan_verify {
	struct plan_place at;
	struct plan_cron metadata;
	struct plan_verify_data *data;
};
enum plan_catch_up { PLAN_CATCH_UP_NONE, PLAN_CATCH_UP_ONCE };
struct plan_missed {
	struct plan_place at;
	enum plan_catch_up catch_up;
	int64_t grace_ms;
};
struct plan_schedule {
	struct plan_place at;
	struct plan_cron backup;
	struct plan_verify *verify;
	struct plan_drill_slot *drills;
	size_t n_drills;
	struct plan_missed *missed;
};

struct plan_keep { /* numbers of snapshots to keep, 0: rule not used */
	struct plan_place at;
	int64_t last, hourly, daily, weekly, monthly, yearly;
};
struct plan_retention {
	struct plan_place at;
	struct plan_keep *keep;
	int64_t min_ms;      /* nothing younger is ever removed */
	int64_t max_ms;      /* nothing older is kept, -1: no bound */
	int64_t evidence_ms; /* retention of the evidence log */
};

enum plan_custody { PLAN_CUSTODY_HOST, PLAN_CUSTODY_QUORUM };
struct plan_approval { /* of one action */
	struct plan_place at;
	int64_t quorum; /* distinct persons */
	struct plan_list roles;
	int64_t expires_ms;     /* life of a request */
	int64_t standing_ms;    /* life of a standing approval, -1: none; only with custody host */
	int64_t cooling_off_ms; /* wait between approval and act */
};
struct plan_approvals {
	struct plan_place at;
	struct plan_approval *restore, *drill, *prune;
};

struct plan_recovery_target {
	struct plan_place at;
	const char *host, *identity, *known_hosts; /* as in plan_source */
	struct plan_list isolate; /* among mount, net, pid, ipc */
};
enum plan_metadata { PLAN_METADATA_SAFE, PLAN_METADATA_FULL };
/* One node of the recovery graph: restore a source, or run a command. */
struct plan_step {
	struct plan_place at;
	const char *id;
	const char *restore;      /* name of a source, or NULL: run */
	const char *to;           /* directory: absolute or beginning with ${work} */
	struct plan_list pipe_to; /* command fed with the copy, instead of `to` */
	const char *as;           /* file name below `to` for the output of a command source */
	int64_t strip;            /* leading path components dropped */
	struct plan_list paths;   /* only these, as in the copy */
	enum plan_metadata metadata;
	struct plan_list run;
	struct plan_pairs env;
	const char *cwd; /* absolute or beginning with ${work} */
	struct plan_list needs;
	int64_t timeout_ms;
};
enum plan_check_kind {
	PLAN_CHECK_MANIFEST,
	PLAN_CHECK_COMMAND,
	PLAN_CHECK_FRESHNESS,
	PLAN_CHECK_COMPARE,
	PLAN_CHECK_HTTP,
	PLAN_CHECK_TCP
};
struct plan_check {
	struct plan_place at;
	const char *id;
	enum plan_check_kind kind;
	const char *of;               /* manifest, freshness: name of a source */
	int64_t max_age_ms;           /* freshness */
	struct plan_list run;         /* command */
	struct plan_list left, right; /* compare: standard outputs that must be equal */
	const char *url;              /* http */
	int64_t expect;               /* http: status */
	const char *contains;         /* http: text the body must contain, or NULL */
	const char *ca_file;          /* http: trust anchor for https, or NULL */
	const char *address;          /* tcp: host:port */
	struct plan_pairs env;        /* command, compare */
	struct plan_list needs;       /* ids of steps; empty: all steps */
	int64_t timeout_ms;
};
struct plan_recovery {
	struct plan_place at;
	struct plan_recovery_target *target; /* never NULL when recovery is given */
	struct plan_step *steps;             /* in the order of the file */
	size_t n_steps;
	size_t *order; /* indices of steps so that each comes after all it needs; ties in the order of the file */
	struct plan_check *checks;
	size_t n_checks;
};
struct plan_drill {
	struct plan_place at;
	struct plan_list negative; /* among corrupt-pack, wrong-key, stale-snapshot */
};

struct plan_role {
	struct plan_place at;
	const char *name, *person, *deputy, *contact;
};
struct plan_contact {
	struct plan_place at;
	const char *name, *contact;
};
struct plan_authority {
	struct plan_place at;
	const char *name, *contact;
	int64_t deadline_ms;
};
struct plan_crisis {
	struct plan_place at;
	struct plan_role *roles;
	size_t n_roles;
	struct plan_contact *contacts;
	size_t n_contacts;
	struct plan_authority *authorities;
	size_t n_authorities;
};
struct plan_notify {
	struct plan_place at;
	struct plan_list on;      /* among success, failure, missed, target-missed */
	struct plan_list email;   /* addresses */
	struct plan_list webhook; /* https URLs or secret references to one */
	const char *ping;         /* URL or secret reference, fetched after each good run */
};
struct plan_policy { /* what a classification demands; judged by the linter */
	struct plan_place at;
	const char *class_name;
	int64_t min_copies, min_distance_km, restore_quorum;              /* -1: not demanded */
	int64_t max_rto_ms, max_rpo_ms, min_immutable_ms, drill_every_ms; /* -1: not demanded */
	const char *custody;                                              /* "host", "quorum" or NULL */
};
struct plan_not_applicable {
	struct plan_place at;
	const char *requirement, *reason;
};

struct plan {
	struct plan_place at;
	const char *name; /* key `plan` */
	const char *title;
	struct plan_owner *owner;
	const char *classification; /* also the class of recipients */
	const char *time_zone;      /* IANA name */
	struct plan_review *review;
	struct plan_targets *targets; /* never NULL */
	struct plan_activation *activation;
	struct plan_source *sources; /* at least one */
	size_t n_sources;
	struct plan_site *sites; /* at least one */
	size_t n_sites;
	struct plan_copies *copies; /* never NULL */
	struct plan_service *service;
	struct plan_schedule *schedule;
	struct plan_retention *retention;
	enum plan_custody custody;
	struct plan_approvals *approvals;
	struct plan_recovery *recovery;
	struct plan_drill *drill;
	struct plan_crisis *crisis;
	struct plan_notify *notify;
	struct plan_policy *policies;
	size_t n_policies;
	struct plan_list requirements; /* ids of catalogues */
	struct plan_not_applicable *not_applicable;
	size_t n_not_applicable;

	const char *file;                      /* name as given to the loader */
	unsigned char digest[PLAN_DIGEST_LEN]; /* SHA-256 of the file's bytes */
	struct plan_arena *arena;
};

/* --- diagnostics --- */
enum plan_severity { PLAN_ERROR, PLAN_WARNING };
struct plan_diag {
	struct plan_place at;
	enum plan_severity severity;
	char *message; /* "unknown key 'rtoo' in targets" */
	char *hint;    /* "did you mean 'rto'?", or NULL */
	char *text;    /* the line of the file it points into, without its end; NULL when there is none or it holds a
	                  secret */
	bool secret;   /* it is about a secret in the file */
};
/* Sorted by place. Heap memory of its own, so that it outlives the plan. */
struct plan_diags {
	char *file;
	struct plan_diag *v;
	size_t n, cap, n_errors, n_dropped;
};
#define PLAN_DIAGS_INIT                                                                                                \
	{                                                                                                              \
		NULL, NULL, 0, 0, 0, 0                                                                                 \
	}
void plan_diags_release(struct plan_diags *d);
/* "FILE:LINE:COL: error: MESSAGE (HINT)", the line and a caret under the place; control characters escaped. */
int plan_diags_print(const struct plan_diags *d, struct buf *out, struct err *err) HF_NODISCARD;
/* Array of {file, line, col, severity, message, hint}. */
json_t *plan_diags_json(const struct plan_diags *d);

/* --- loading --- */
/*
 * Load a plan. 0 and *ret when nothing is wrong (diags may hold warnings); -ERR_USAGE with diags filled and *ret NULL
 * when the text is not a plan (err names the first place); other codes when the file cannot be read.
 */
int plan_load_file(const char *path, struct plan **ret, struct plan_diags *diags, struct err *err) HF_NODISCARD;
int plan_load_bytes(const char *name, const void *p, size_t n, struct plan **ret, struct plan_diags *diags,
        struct err *err) HF_NODISCARD;
void plan_free(struct plan *p);
void plan_free_ptr(struct plan **p); /* for CLEAN() */
/* A file of one source's keys, as protected hosts keep it (sources.d/NAME.yaml): a plan with that one
 * source, where targets and copies are NULL and there is no site. */
int plan_source_load_file(const char *path, struct plan **ret, struct plan_diags *diags, struct err *err) HF_NODISCARD;
int plan_source_load_bytes(const char *name, const void *p, size_t n, struct plan **ret, struct plan_diags *diags,
        struct err *err) HF_NODISCARD;

/* Where a key stands: "sources[1].follow", "approvals.restore". False when the file does not have it. */
bool plan_key_place(const struct plan *p, const char *key, struct plan_place *ret);
/* Refuse a key that this build cannot serve: ERR_UNSUPPORTED "FILE:LINE:COL: KEY: MESSAGE". Returns -ERR_UNSUPPORTED.
 */
int plan_refuse(const struct plan *p, const char *key, const char *message, struct err *err);
const struct plan_source *plan_source(const struct plan *p, const char *name);
const struct plan_site *plan_site(const struct plan *p, const char *name);
const struct plan_step *plan_step(const struct plan *p, const char *id);
/* Words of the enumerations, as in the file. */
const char *plan_exercise_name(enum plan_exercise k);
const char *plan_check_kind_name(enum plan_check_kind k);
/* True for file:, env: and systemd-credential: references. */
bool plan_is_secret_ref(const char *s);

/* The effective plan, defaults filled, durations and sizes as text; keys that do not apply are absent. */
json_t *plan_to_json(const struct plan *p);
/* Great-circle distance in km (mean Earth radius 6371 km). */
double plan_distance_km(const struct plan_geo *a, const struct plan_geo *b);

/* --- calendar --- */
/* Five fields (minute hour day month weekday; *, lists, ranges, steps, names of months and days, 7 is Sunday) or
 * @hourly
 * @daily @midnight @weekly @monthly @yearly @annually. On failure -ERR_USAGE, and *ret_col (may be NULL) is the 0-based
 * offset of the wrong field. A rule that can never match (30 February) is refused. */
int cron_parse(const char *text, struct cron *ret, size_t *ret_col, struct err *err) HF_NODISCARD;
/* A time zone of the IANA database, read from the system's TZif files; "UTC" needs none. */
struct tz;
int tz_load(const char *name, struct tz **ret, struct err *err) HF_NODISCARD;
/* From the bytes of a TZif file (RFC 8536, version 1 to 4). */
int tz_parse(const void *p, size_t n, struct tz **ret, struct err *err) HF_NODISCARD;
void tz_free(struct tz *tz);
void tz_free_ptr(struct tz **tz); /* for CLEAN() */
/* Seconds east of UTC in force at an instant (seconds since the epoch). */
int32_t tz_offset(const struct tz *tz, int64_t utc_s);
/*
 * First slot later than after_ns, in wall nanoseconds; -1 when there is none within nine years.
 * A slot in local time that the zone skips fires once, at the first minute that exists again; one that the zone repeats
 * fires the first time only. Rules whose hour field admits every hour follow elapsed time instead: they keep their pace
 * through both changes, so that a copy every 15 minutes stays one.
 */
int64_t cron_next(const struct cron *rule, const struct tz *tz, int64_t after_ns);
/* Slots t with after_ns < t <= until_ns, ascending, newly allocated, at most max of them (*ret_more tells that there
 * are more). */
int64_t *cron_between(const struct cron *rule, const struct tz *tz, int64_t after_ns, int64_t until_ns, size_t max,
        size_t *ret_n, bool *ret_more);
/* Longest time between neighbouring slots in the year after `from_ns`, in ms; -1 when there are fewer than two. */
int64_t cron_longest_gap_ms(const struct cron *rule, const struct tz *tz, int64_t from_ns);

/* --- linter --- */
enum plan_verdict { PLAN_MET, PLAN_NOT_MET, PLAN_NOT_APPLICABLE, PLAN_UNKNOWN };
const char *plan_verdict_name(enum plan_verdict v); /* "met", "not_met", "not_applicable", "unknown" */
/* What the caller knows beside the plan. */
struct plan_facts {
	int64_t now_ns;
	uint64_t data_bytes;                /* size to restore, all sources together; UINT64_MAX: unknown */
	int opening_key_on_controller;      /* 1, 0, -1: unknown */
	const int64_t *probed_immutable_ms; /* one a site, -1: not probed, 0: no lock; NULL: nothing probed */
};
#define PLAN_FACTS_INIT                                                                                                \
	{                                                                                                              \
		0, UINT64_MAX, -1, NULL                                                                                \
	}
struct plan_finding {
	const char *id;        /* rule id ("copies", "distance") or requirement id ("REQ-7.11.2-02c") */
	const char *catalogue; /* NULL for a rule */
	const char *title;     /* borrowed for rules and requirements alike */
	enum plan_verdict verdict;
	struct plan_place at; /* key it is about; line 0: a key that is missing */
	char *text;           /* what was found: "2 copies, 2 wanted" */
	char *rationale;      /* the written reason of not_applicable, or NULL */
};
struct plan_findings {
	struct plan_finding *v; /* rules first, then the requirements of each catalogue of the plan */
	size_t n, cap;
	json_t *catalogues; /* array; what requirements borrow id and title from */
};
/* Judge a plan. Never fails; NULL facts: nothing is known beside the plan (dates are then unknown). */
void plan_lint(const struct plan *p, const struct plan_facts *facts, struct plan_findings *ret);
void plan_findings_release(struct plan_findings *f);
/* Array of {id, catalogue, title, verdict, line, col, text, rationale}. */
json_t *plan_findings_json(const struct plan_findings *f);

/* --- data compiled in --- */
struct plan_blob {
	const char *name; /* catalogue or template id */
	const char *p;
	size_t n;
};
/* The i-th of them, false behind the last. Catalogues are JSON: {id, title, requirements: [{id, title, rules: [..]}]};
 * templates are plans. The bytes are those of plans/catalogues and plans/templates. */
bool plan_catalogue_at(size_t i, struct plan_blob *ret);
bool plan_template_at(size_t i, struct plan_blob *ret);
/* A template with its `plan:` line set to name; ERR_USAGE names the templates there are. Appends to out. */
int plan_template_write(const char *template_name, const char *name, struct buf *out, struct err *err) HF_NODISCARD;

/* --- documents made from the key table --- */
json_t *plan_schema_json(void);          /* JSON Schema 2020-12 of a plan file */
void plan_reference_md(struct buf *out); /* reference page of every key */

#endif
