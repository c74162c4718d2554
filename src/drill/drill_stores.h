/*
 * How an isolated process reaches sites that are no directories of its machine: through whoever started it, who is outside and reads
 * for it. Over that way it can read objects, and nothing else.
 */
#ifndef DRILL_DRILL_STORES_H
#define DRILL_DRILL_STORES_H

#include "drill/drill.h"
#include "wire/access.h"

/* --- outside --- */
struct drill_relay {
	int fd[2]; /* ours, and the process' until it is started */
	struct wire *w;
	struct wire_access rights;
};
#define DRILL_RELAY_INIT                                                                                               \
	{                                                                                                              \
		.fd = { -1, -1 }                                                                                       \
	}
/* Has the plan a site that the process cannot reach by itself? */
bool drill_relay_wanted(const struct job *j);
/* *ret_fd is for isolated_start.stores. */
int drill_relay_open(struct drill_relay *r, int *ret_fd, struct err *err) HF_NODISCARD;
/* After the start: greet it and serve it. One that died before is told by its report. */
void drill_relay_serve(struct drill_relay *r, const struct job *j, const struct sites *sites);
void drill_relay_close(struct drill_relay *r); /* before the sites are closed */

/* --- inside --- */
struct drill_way {
	struct wire *w;
	bool all; /* directories too */
};
/* Let j (a copy of the process' own) open its sites through self->stores, where there is one. */
void drill_way_open(struct drill_way *way, const struct isolated_self *self, struct job *j);
void drill_way_close(struct drill_way *way); /* after the sites are closed */

/* For job.open_site with a struct wire as its argument: a site as a client of the other end, who may not have it. */
int drill_open_relayed(struct wire *w, size_t number, const struct plan_site *ps, struct store **ret, struct err *err) HF_NODISCARD;

#endif
