#include "cli/cli.h"

#include <signal.h>
#include <stdatomic.h>

#include "base/mem.h"

/* A signal handler has no other way to reach it. */
static atomic_bool cancelled;
_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "used in a signal handler");

static void on_signal(int sig)
{
	if (!atomic_exchange(&cancelled, true))
		return;
	signal(sig, SIG_DFL);
	raise(sig);
}

atomic_bool *signals_init(void)
{
	static const int stop[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction act = {.sa_handler = on_signal}, old;

	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(stop); i++)
		/* What a parent chose to ignore (nohup) stays ignored. */
		if (sigaction(stop[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(stop[i], &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	return &cancelled;
}
