/*
 * Connections for tests: two ends in one process, each with threads of its own.
 *
 *   CLEAN(pair_release) struct pair p;
 *   pair_init(&p);                       two pairs of descriptors
 *   wire_serve_store(p.there, ...)       after pair_greet(&p)
 */
#ifndef TESTS_UNIT_WIRE_FIXTURE_H
#define TESTS_UNIT_WIRE_FIXTURE_H

#include "wire/wire.h"

struct pair {
	int here_in, here_out, there_in, there_out;
	struct wire *here, *there;
};
/* Pipes in both directions; no ends yet. */
void pair_init(struct pair *p);
void pair_release(struct pair *p);
/* Greet both ends, with options of their own (NULL: plain ones). */
void pair_greet_with(struct pair *p, const struct wire_opts *here, const struct wire_opts *there);
void pair_greet(struct pair *p);
/* A store that is served at the other end of a connection of its own, and all that belongs to it. Takes below over. */
struct store *served_store(struct store *below, const struct wire_served *how);

#endif
