#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "sshd_fixture.h"
#include "store/store.h"
#include "store_conformance.h"

static struct sshd server;

/* --- the ways to open a store that all must conform --- */

static int open_child(const char *place, struct store **ret, struct err *err)
{
	return sshd_store(&server, 0, place, NULL, ret, err);
}

static int open_library(const char *place, struct store **ret, struct err *err)
{
	return sshd_store(&server, 0, place, &(struct store_config){.create = true, .ssh_library = true}, ret, err);
}

static const struct conformance_driver drivers[] = {
        {.name = "sftp through ssh", .open = open_child},
        {.name = "sftp through libssh2", .open = open_library},
};

int main(void)
{
	Suite *s = suite_create("store_sftp");
	char dir[] = "/tmp/holdfast-sshd-XXXXXX";

	if (!mkdtemp(dir))
		return 1;
	sshd_start(&server, dir, NULL);
	suite_add_tcase(s, store_conformance(drivers, ARRAY_LEN(drivers)));
	int failed = conformance_main(s);

	sshd_stop(&server);
	(void)!fs_remove_tree(dir, NULL);
	return failed;
}
