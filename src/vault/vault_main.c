#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/journal.h"
#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "crypto/crypto.h"
#include "evidence/witness.h"
#include "vault/vault_main.h"

#define OPEN_FILES 512
#define STACK ((rlim_t)512 << 10) /* of a thread: there may be 34 */

static const char usage_text[] =
        "usage: holdfast-vault --role ROLE [--prefix DIR] [--source NAME] [--witness DIR] STORE_DIR\n"
        "       holdfast-vault --verify [--prefix DIR] STORE_DIR    read what is stored, print what is damaged as JSON\n"
        "       holdfast-vault --init-key DIR                       make a witness's key, print its verifier key\n"
        "       holdfast-vault --version\n"
        "\n"
        "Serves STORE_DIR on standard input and output with the rights of one role, as the forced command of an SSH key:\n"
        "  restrict,command=\"holdfast-vault --role put --prefix ca /srv/vault\" ssh-ed25519 AAAA...\n"
        "Roles: put (backups and their evidence), get (recovery), audit (lists and what is in the clear), controller\n"
        "(replication and upkeep), source (an agent of one source). None removes or overwrites anything.\n";

enum mode { SERVE, VERIFY, INIT_KEY, VERSION };

struct args {
	enum mode mode;
	struct vault_opts o;
	const char *key_dir;
	bool role_given;
};

static int usage(const char *what, const char *arg)
{
	fprintf(stderr, "holdfast-vault: %s%s\n%s", what, arg, usage_text);
	return 2;
}

static const struct option options[] = {
        {"role", required_argument, NULL, 'r'},
        {"prefix", required_argument, NULL, 'p'},
        {"source", required_argument, NULL, 's'},
        {"witness", required_argument, NULL, 'w'},
        {"verify", no_argument, NULL, 'v'},
        {"init-key", required_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
};

static int parse_one(int opt, struct args *a)
{
	switch (opt) {
	case 'r':
		if (!wire_role_parse(optarg, &a->o.access.role))
			return usage("no such role: ", optarg);
		a->role_given = true;
		return 0;
	case 's':
		if (!str_is_id(optarg))
			return usage("no name of a source: ", optarg);
		str_copy(a->o.access.source, sizeof a->o.access.source, optarg);
		return 0;
	case 'p':
		a->o.prefix = optarg;
		return 0;
	case 'w':
		a->o.witness = optarg;
		return 0;
	case 'v':
		a->mode = VERIFY;
		return 0;
	case 'k':
		a->mode = INIT_KEY;
		a->key_dir = optarg;
		return 0;
	case 'V':
		a->mode = VERSION;
		return 0;
	default:
		return usage("", "");
	}
}

static int parse(int argc, char **argv, struct args *a)
{
	int opt, rc;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		if ((rc = parse_one(opt, a)))
			return rc;
	if (a->mode == INIT_KEY || a->mode == VERSION)
		return optind == argc ? 0 : usage("too much: ", argv[optind]);
	if (optind != argc - 1)
		return usage("one directory is needed", "");
	a->o.dir = argv[optind];
	if (a->mode == SERVE && !a->role_given)
		return usage("--role is needed", "");
	return 0;
}

/* What may go wrong is bounded before anybody's byte is read. */
static void limit(int what, rlim_t n)
{
	struct rlimit l;

	if (getrlimit(what, &l) == 0 && (l.rlim_cur == RLIM_INFINITY || l.rlim_cur > n)) {
		l.rlim_cur = n;
		if (l.rlim_max == RLIM_INFINITY || l.rlim_max > n)
			l.rlim_max = n;
		(void)setrlimit(what, &l);
	}
}

static void settle(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)umask(077);
	limit(RLIMIT_NOFILE, OPEN_FILES);
	limit(RLIMIT_STACK, STACK);
	limit(RLIMIT_FSIZE, STORE_OBJECT_MAX);
	mem_no_dumps();
}

/* The connection gets descriptors of its own: what is printed by accident must not get between the frames. */
static int take_streams(int fd[2], struct err *err)
{
	fd[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	fd[1] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd[0] < 0 || fd[1] < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return err_sys(err, ERR_IO, "standard input and output");
	close(null);
	return 0;
}

/* To the site's own log, and to who came: his last lines of standard error explain what failed. */
static void to_syslog(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	journal_line(level <= LOG_WARN, line);
	fprintf(stderr, "holdfast-vault: %s\n", line);
}

/* "10.0.0.7" of SSH_CONNECTION. */
static void client_name(char out[64])
{
	const char *from = getenv("SSH_CONNECTION");

	(void)snprintf(out, 64, "%.*s", from ? (int)MIN(strcspn(from, " "), 60) : 5, from ? from : "local");
}

static int serve(struct args *a, struct err *err)
{
	const char *asked = getenv("SSH_ORIGINAL_COMMAND");
	char client[64];
	int fd[2], rc;

	client_name(client);
	a->o.client = client;
	if (isatty(STDIN_FILENO))
		return usage("this is no terminal program", "");
	if (asked && *asked && !str_starts(asked, "holdfast-vault") && !str_starts(asked, "'holdfast-vault'"))
		log_msg(LOG_WARN, "%s: asked for '%.200s', which is not what this key is for", client, asked);
	rc = vault_confine(err);
	if (!rc)
		rc = take_streams(fd, err);
	return rc ? rc : vault_serve(&a->o, fd[0], fd[1], err);
}

static int verify(struct args *a, struct err *err)
{
	CLEAN(json_release) json_t *report = NULL;

	a->o.client = "verify";
	int rc = vault_verify(&a->o, &report, err);

	if (report && (json_dumpf(report, stdout, JSON_INDENT(1) | JSON_SORT_KEYS) || puts("") < 0) && !rc)
		return err_sys(err, ERR_IO, "cannot write the report");
	return rc;
}

static int init_key(struct args *a, struct err *err)
{
	CLEAN(free_ptr) char *vkey = NULL;
	int rc = witness_create(a->key_dir, &vkey, err);

	return rc ? rc : puts(vkey) < 0 ? err_sys(err, ERR_IO, "cannot print the key") : 0;
}

int vault_main(int argc, char **argv)
{
	struct args a = {0};
	struct log_sink sink = {to_syslog, NULL};
	struct err err = ERR_INIT;
	int rc = parse(argc, argv, &a);

	if (rc)
		return rc;
	if (a.mode == VERSION)
		return printf("holdfast-vault %s\n", HOLDFAST_VERSION) < 0;
	settle();
	journal_open("holdfast-vault");
	crypto_init();
	if (a.mode == SERVE)
		log_to(&sink);
	rc = a.mode == SERVE ? serve(&a, &err) : a.mode == VERIFY ? verify(&a, &err) : init_key(&a, &err);
	if (rc > 0)
		return rc;
	if (rc)
		log_err(&err);
	log_to(NULL);
	return rc ? err_exit_status(err.code) : 0;
}
