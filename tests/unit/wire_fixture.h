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


/* --- the other end by hand: a connection whose frames the test writes and reads itself --- */
struct raw {
	struct pair p; /* p.here or p.there is NULL: that end is ours */
	int in, out;
};
/* A real end that serves (or asks) on the other side, greeted. */
void raw_init_client(struct raw *r); /* we are the client: p.there is real */
void raw_init_server(struct raw *r); /* we are the server: p.here is real */
void raw_release(struct raw *r);
void raw_hello(struct raw *r, uint16_t min, uint16_t max, const char *version, const char *role);
void raw_send(struct raw *r, int type, uint32_t id, const void *p, size_t n);
void raw_bytes(struct raw *r, const void *p, size_t n);
/* A request of the store service; key NULL: none. more: the arguments behind it. */
void raw_ask(struct raw *r, uint32_t id, uint8_t op, const char *key, uint64_t body, const void *more, size_t n);
/* The next frame but pings, which are answered; false at the end. payload holds WIRE_FRAME_MAX bytes. */
struct raw_frame {
	int type;
	uint32_t id, n;
	unsigned char payload[WIRE_FRAME_MAX];
};
bool raw_next(struct raw *r, struct raw_frame *ret);

#endif
