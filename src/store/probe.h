/*
 * The capability probe: what a place really does, tried on a few tiny objects under probe/<random>/, which stay. It believes
 * nothing that it can try and says of each point yes, no or unknown.
 *
 *   struct probe_opts o = {.open = open_again, .arg = &site, .promised_ms = 35 * DAY};
 *   struct probe_result r;
 *   if (!store_probe(store, &o, &r, &err)) json = probe_json(&r);
 *
 * It attacks objects of its own with the credentials in hand: overwrites, deletes, shortens locks. An error is returned only when
 * the place cannot be asked at all; a place that does less than it should is a result. Threads are started for the writers.
 */
#ifndef STORE_PROBE_H
#define STORE_PROBE_H

#include "base/json.h"
#include "store/store.h"

#define PROBE_WRITERS 16
#define PROBE_SKEW_MAX_MS (5 * 60 * 1000) /* a clock that is off by more is a finding */

enum probe_point {
	PROBE_CREATE_ONLY,      /* a second put of a key is refused, and the first bytes stay */
	PROBE_ONE_WINNER,       /* of PROBE_WRITERS puts at once exactly one wins, and its bytes are what is read */
	PROBE_READ_AFTER_WRITE, /* through another handle too */
	PROBE_LIST_AFTER_WRITE,
	PROBE_NO_OVERWRITE,
	PROBE_NO_DELETE,
	PROBE_NO_DELETE_VERSION,
	PROBE_LOCK, /* a new object is locked, and for as long as promised */
	PROBE_NO_SHORTEN,
	PROBE_DIGEST_CHECKED, /* a put whose digest is wrong is refused */
	PROBE_DURABLE,         /* the place says that it makes objects durable on request */
	PROBE_CLOCK,           /* differs by no more than PROBE_SKEW_MAX_MS */
	PROBE_DISTANCE,        /* its round trip allows for the declared distance */
	PROBE_POINTS
};
enum probe_answer { PROBE_UNKNOWN, PROBE_NO, PROBE_YES };
/* From the strongest to the weakest. */
enum probe_class {
	PROBE_LOCKED,      /* nobody with these credentials can end an object before its lock ends */
	PROBE_APPEND_ONLY, /* these credentials can neither change nor remove an object */
	PROBE_MUTABLE,
	PROBE_TIMED, /* no create-only put or no list that holds what was written: one writer a source, nothing is collected */
};

struct probe_opts {
	/* Open the same place again, for the writers and for reading what another handle wrote. NULL: the one store is used, by
	 * several threads when it is STORE_THREADSAFE. */
	int (*open)(void *arg, struct store **ret, struct err *err);
	void *arg;
	int64_t promised_ms; /* lock that each object is to have; 0: none is promised */
	double distance_km;  /* from here to where the place is said to stand; 0: not said */
	const atomic_bool *cancel;
};
struct probe_result {
	enum probe_class class_;
	struct {
		enum probe_answer answer;
		char detail[240]; /* what was seen, may be empty */
	} point[PROBE_POINTS];
	int64_t immutable_ms; /* how long an object is safe from these credentials: its lock, INT64_MAX where none is needed, 0 not at all */
	int64_t lock_ms;      /* lock found on a new object, -1: none can be read */
	bool compliance;      /* of that lock: not even the owner of the place can end it */
	bool has_skew;
	int64_t skew_ms;      /* clock of the place - clock of this machine */
	int64_t round_trip_us; /* median of several stats; -1: not measured */
	char prefix[64];      /* below which the probe's objects are */
};

/* ERR_UNREACHABLE, ERR_DENIED, …: not even a first object can be put. */
int store_probe(struct store *s, const struct probe_opts *o, struct probe_result *ret, struct err *err) HF_NODISCARD;
const char *probe_class_name(enum probe_class c);   /* "locked", "append-only", "mutable", "timed" */
const char *probe_point_name(enum probe_point p);   /* "create_only", … */
const char *probe_answer_name(enum probe_answer a); /* "yes", "no", "unknown" */
/* {class, immutable_ms (null: without end), lock_ms, lock_mode, skew_ms, round_trip_us, prefix, points: [{point, answer, detail}]} */
json_t *probe_json(const struct probe_result *r);

#endif
