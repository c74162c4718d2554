#include "suite.h"

#include <stdlib.h>

#define SECONDS "120" /* check's own four are too few for a sanitizer on a busy machine */

/* Read when a case is made. */
__attribute__((constructor)) static void set_timeout(void)
{
	setenv("CK_DEFAULT_TIMEOUT", SECONDS, 0);
}

static int run(Suite *s, enum fork_status how)
{
	SRunner *r = srunner_create(s);

	if (!getenv("CK_FORK"))
		srunner_set_fork_status(r, how);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);

	srunner_free(r);
	return failed ? 1 : 0;
}

int suite_main(Suite *s)
{
	return run(s, CK_NOFORK);
}

int suite_main_forked(Suite *s)
{
	return run(s, CK_FORK);
}
