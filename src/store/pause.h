/*
 * Waiting, as filters do it: by a clock that tests replace, ended at once by flags that others set. Nobody outside this
 * module includes this.
 */
#ifndef STORE_PAUSE_H
#define STORE_PAUSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pause {
	int64_t (*now_ms)(void *arg);        /* NULL: the time since boot */
	void (*wait)(void *arg, int64_t ms); /* NULL: a sleep that looks at the flags */
	void *arg;
	const atomic_bool *cancel, *give_up; /* may be NULL */
};
int64_t pause_now_ms(const struct pause *p);
bool pause_stopped(const struct pause *p);
/* Wait ms. False as soon as a flag is set. */
bool pause_for(const struct pause *p, int64_t ms);

#endif
