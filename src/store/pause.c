#include "store/pause.h"

#include <stddef.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"

#define LOOK_MS 20 /* a signal handler can only set a flag, so somebody has to look */

int64_t pause_now_ms(const struct pause *p)
{
	return p->now_ms ? p->now_ms(p->arg) : clock_boot_ns() / 1000000;
}

static bool set(const atomic_bool *flag)
{
	return flag && atomic_load(flag);
}

bool pause_stopped(const struct pause *p)
{
	return set(p->cancel) || set(p->give_up);
}

bool pause_for(const struct pause *p, int64_t ms)
{
	if (p->wait && ms > 0 && !pause_stopped(p)) {
		p->wait(p->arg, ms);
		ms = 0;
	}
	while (ms > 0 && !pause_stopped(p)) {
		int64_t part = MIN(ms, LOOK_MS);
		const struct timespec t = {0, (long)part * 1000000};

		(void)nanosleep(&t, NULL);
		ms -= part;
	}
	return !pause_stopped(p);
}
