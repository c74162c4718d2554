#include "suite.h"

#include <stdlib.h>

/* For every case that sets none: check's own four seconds are too few for a sanitizer on a busy machine. Read when a case is made. */
__attribute__((constructor)) static void set_timeout(void)
{
	setenv("CK_DEFAULT_TIMEOUT", "120", 0);
}

int suite_main(Suite *s)
{
	SRunner *r = srunner_create(s);

	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);

	srunner_free(r);
	return failed ? 1 : 0;
}
