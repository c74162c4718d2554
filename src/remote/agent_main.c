#include "remote/agent_main.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/version.h"
#include "crypto/crypto.h"

struct agent_main {
	const struct agent_role *role;
	struct root root;
	pthread_mutex_t mutex; /* of job */
	struct wire_job *job;  /* the one under way, or NULL */
	struct log_sink sink;
};

static void to_asker(void *arg, enum log_level level, const char *line)
{
	struct agent_main *m = arg;
	pthread_mutex_lock(&m->mutex);
	if (m->job)
		wire_job_log(m->job, level, line);
	else
		fprintf(stderr, "%s: %s\n", m->role->program, line);
	pthread_mutex_unlock(&m->mutex);
}

static void set_job(struct agent_main *m, struct wire_job *job)
{
	pthread_mutex_lock(&m->mutex);
	m->job = job;
	pthread_mutex_unlock(&m->mutex);
}

static int serve(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err)
{
	struct agent_main *m = arg;
	set_job(m, job);
	int rc = m->role->serve(&m->root, job, kind, doc, ret, err);
	set_job(m, NULL);
	return rc;
}

/* What is printed by accident must not get between the frames: the connection gets descriptors of its own. */
static int take_streams(int fd[2])
{
	fd[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	fd[1] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd[0] < 0 || fd[1] < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return -1;
	close(null);
	return 0;
}

static int talk(struct agent_main *m, struct err *err)
{
	int fd[2];
	struct wire *w;
	if (take_streams(fd))
		return err_sys(err, ERR_IO, "standard input and output");
	const struct wire_opts o = {.name = "the controller", .role = m->role->program, .spool = m->root.work};
	int rc = wire_new(fd[0], fd[1], &o, &w, err);
	if (rc)
		return rc;
	wire_serve_job(w, serve, m);
	rc = wire_run(w, err);
	wire_free(w);
	return rc;
}

static int usage(const char *program, const char *what)
{
	fprintf(stderr, "%s: %s\nusage: %s [--root DIR]\nIt is started by holdfast, through SSH, and speaks to it on standard input and output.\n", program, what, program);
	return 2;
}

int agent_main(int argc, char **argv, const struct agent_role *role)
{
	const char *dir = NULL;
	struct err err = ERR_INIT;
	struct agent_main m;
	for (int i = 1; i < argc; i++) {
		if (str_eq(argv[i], "--version"))
			return printf("%s %s\n", role->program, HOLDFAST_VERSION) < 0;
		if (str_eq(argv[i], "--root") && i + 1 < argc)
			dir = argv[++i];
		else
			return usage(role->program, "an argument that is not known");
	}
	if (isatty(STDIN_FILENO))
		return usage(role->program, "this is no terminal program");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	mem_no_dumps();
	crypto_init();
	m = (struct agent_main){.role = role, .mutex = PTHREAD_MUTEX_INITIALIZER, .sink = {to_asker, &m}};
	root_init(&m.root, dir, secure_getenv("HOME"), secure_getenv("XDG_CONFIG_HOME"), secure_getenv("XDG_STATE_HOME"));
	log_to(&m.sink);
	int rc = talk(&m, &err);
	if (rc)
		fprintf(stderr, "%s: %s\n", role->program, err.msg);
	log_to(NULL);
	root_release(&m.root);
	return rc ? err_exit_status(err.code) : 0;
}
