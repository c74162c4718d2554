#include "sftp_server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sftp/sftp_packet.h"

#define HANDLES 64
#define HELD 4

static struct {
	enum wrong wrong;
	unsigned type, nth, seen[256];
	unsigned long long arg;
	char path[300];
	int fd[HANDLES];
	DIR *dir[HANDLES];
	unsigned char in[SFTP_PACKET_MAX], out[SFTP_PACKET_MAX + 8];
	size_t at, n, len; /* reading, size of the request; length of the answer */
	unsigned char *held[HELD];
	size_t held_len[HELD], n_held;
} v;

/* --- what it does wrong --- */

void wrong_at(const char *dir, enum wrong wrong, unsigned type, unsigned nth, unsigned long long arg)
{
	char path[300];

	(void)snprintf(path, sizeof path, "%s/wrong", dir);
	FILE *f = fopen(path, "we");

	if (!f || fprintf(f, "%d %u %u %llu\n", (int)wrong, type, nth, arg) < 0 || fclose(f))
		abort();
}

int wrong_done(const char *dir)
{
	char path[300];

	(void)snprintf(path, sizeof path, "%s/wrong", dir);
	return access(path, F_OK) != 0;
}

static void read_wrong(const char *dir)
{
	int wrong = 0;

	(void)snprintf(v.path, sizeof v.path, "%s/wrong", dir);
	FILE *f = fopen(v.path, "re");

	if (f && fscanf(f, "%d %u %u %llu", &wrong, &v.type, &v.nth, &v.arg) == 4)
		v.wrong = (enum wrong)wrong;
	if (f)
		(void)fclose(f);
}

/* --- bytes --- */

static void send_all(const void *p, size_t n)
{
	for (const char *at = p; n;) {
		ssize_t done = write(STDOUT_FILENO, at, n);

		if (done < 0)
			_exit(0);
		at += done;
		n -= (size_t)done;
	}
}

static void receive(void *p, size_t n)
{
	for (char *at = p; n;) {
		ssize_t got = read(STDIN_FILENO, at, n);

		if (got <= 0)
			_exit(0);
		at += got;
		n -= (size_t)got;
	}
}

static uint32_t take32(void)
{
	uint32_t x = 0;

	if (v.n - v.at < 4)
		_exit(3);
	memcpy(&x, v.in + v.at, 4);
	v.at += 4;
	return __builtin_bswap32(x);
}

static uint64_t take64(void)
{
	uint64_t high = take32();

	return high << 32 | take32();
}

static char *take_text(size_t *ret_n)
{
	static char text[2][SFTP_PACKET_MAX];
	static int which;
	uint32_t n = take32();

	which = !which;
	if (v.n - v.at < n)
		_exit(3);
	memcpy(text[which], v.in + v.at, n);
	text[which][n] = '\0';
	v.at += n;
	if (ret_n)
		*ret_n = n;
	return text[which];
}

static void put8(unsigned x)
{
	v.out[v.len++] = (unsigned char)x;
}

static void put32(uint64_t x)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		put8((unsigned)(x >> shift) & 255);
}

static void put64(uint64_t x)
{
	put32(x >> 32);
	put32(x & UINT32_MAX);
}

static void put_bytes(const void *p, size_t n)
{
	put32(n);
	memcpy(v.out + v.len, p, n);
	v.len += n;
}

static void begin(unsigned type, uint32_t id)
{
	v.len = 4;
	put8(type);
	put32(id);
}

static void put_length(void)
{
	size_t n = v.len;

	v.len = 0;
	put32(n - 4);
	v.len = n;
}

static void flush_held(void)
{
	while (v.n_held) {
		v.n_held--;
		send_all(v.held[v.n_held], v.held_len[v.n_held]);
		free(v.held[v.n_held]);
	}
}

static void answer(unsigned type)
{
	put_length();
	if (v.wrong != ODD_REVERSED || type != SFTP_READ) {
		flush_held();
		send_all(v.out, v.len);
		return;
	}
	v.held[v.n_held] = malloc(v.len);
	if (!v.held[v.n_held])
		_exit(4);
	memcpy(v.held[v.n_held], v.out, v.len);
	v.held_len[v.n_held++] = v.len;
	if (v.n_held == HELD)
		flush_held();
}

static void status(uint32_t id, uint32_t code)
{
	begin(SFTP_STATUS, id);
	put32(code);
	put_bytes("what\033[31m", 9);
	put_bytes("en", 2);
}

static void status_of(uint32_t id, int rc)
{
	status(id, rc == 0                               ? SFTP_OK
	           : errno == ENOENT || errno == ENOTDIR ? SFTP_NO_SUCH_FILE
	           : errno == EACCES || errno == EPERM   ? SFTP_PERMISSION_DENIED
	                                                 : SFTP_FAILURE);
}

/* --- files --- */

static void put_attrs(const struct stat *st)
{
	put32(1 | 4 | 8);
	put64((uint64_t)st->st_size);
	put32(st->st_mode);
	put32((uint32_t)st->st_atime);
	put32((uint32_t)st->st_mtime);
}

static void attrs(uint32_t id, int rc, const struct stat *st)
{
	if (rc) {
		status_of(id, rc);
		return;
	}
	begin(SFTP_ATTRS, id);
	put_attrs(st);
}

static void handle(uint32_t id, int slot)
{
	unsigned char h = (unsigned char)slot;

	begin(SFTP_HANDLE, id);
	put_bytes(&h, 1);
}

static int free_slot(void)
{
	for (int i = 0; i < HANDLES; i++)
		if (v.fd[i] < 0 && !v.dir[i])
			return i;
	_exit(5);
}

static int take_handle(void)
{
	size_t n;
	const char *h = take_text(&n);

	if (n != 1 || (unsigned char)*h >= HANDLES)
		_exit(6);
	return (unsigned char)*h;
}

static void do_open(uint32_t id)
{
	const char *path = take_text(NULL);
	uint32_t flags = take32(), has = take32(), mode = has & 4 ? take32() : 0666;
	int slot = free_slot(), how = (flags & SFTP_F_WRITE ? O_WRONLY : O_RDONLY) |
	                              (flags & SFTP_F_CREAT ? O_CREAT : 0) | (flags & SFTP_F_EXCL ? O_EXCL : 0) |
	                              (flags & SFTP_F_TRUNC ? O_TRUNC : 0);
	struct stat st;

	if (v.wrong == ODD_PLAIN && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		status(id, SFTP_FAILURE);
		return;
	}
	v.fd[slot] = open(path, how | O_CLOEXEC, mode);
	if (v.fd[slot] < 0)
		status_of(id, -1);
	else
		handle(id, slot);
}

static void do_read(uint32_t id)
{
	int slot = take_handle();
	uint64_t off = take64();
	uint32_t n = take32();

	if (n > SFTP_PACKET_MAX - 64)
		n = SFTP_PACKET_MAX - 64;
	if (v.wrong == ODD_SHORT && n > v.arg)
		n = (uint32_t)v.arg;
	begin(SFTP_DATA, id);
	ssize_t got = pread(v.fd[slot], v.out + v.len + 4, n, (off_t)off);

	if (got <= 0) {
		status(id, got == 0 ? SFTP_EOF : SFTP_FAILURE);
		return;
	}
	put32((uint64_t)got);
	v.len += (size_t)got;
}

static void do_write(uint32_t id)
{
	int slot = take_handle();
	uint64_t off = take64();
	size_t n;
	const char *p = take_text(&n);

	status_of(id, pwrite(v.fd[slot], p, n, (off_t)off) == (ssize_t)n ? 0 : -1);
}

static void do_close(uint32_t id)
{
	int slot = take_handle();

	if (v.dir[slot])
		(void)closedir(v.dir[slot]);
	else
		(void)close(v.fd[slot]);
	v.dir[slot] = NULL;
	v.fd[slot] = -1;
	status(id, SFTP_OK);
}

/* --- directories --- */

static void put_name(DIR *d, const char *name)
{
	struct stat st = {.st_mode = S_IFREG | 0400};

	put_bytes(name, strlen(name));
	put_bytes("-r-- long", 9);
	if (d)
		(void)fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW);
	if (v.wrong == ODD_BARE)
		put32(0);
	else
		put_attrs(&st);
}

static void flood(uint32_t id)
{
	static unsigned long long n;
	char name[64];

	begin(SFTP_NAME, id);
	put32(v.arg == 2 ? 0 : 1000);
	for (int i = 0; v.arg != 2 && i < 1000; i++) {
		(void)snprintf(name, sizeof name, "a%%%llu", n++);
		put_name(NULL, v.arg == 1 ? "same" : v.arg == 4 ? "." : name);
	}
}

static void do_readdir(uint32_t id)
{
	int slot = take_handle();
	const struct dirent *e;
	unsigned n = 0;

	if (v.wrong == ODD_FLOOD) {
		flood(id);
		return;
	}
	begin(SFTP_NAME, id);
	put32(0);
	while (n < 20 && (e = readdir(v.dir[slot]))) {
		put_name(v.dir[slot], e->d_name);
		n++;
	}
	if (n) {
		size_t len = v.len;

		v.len = 9;
		put32(n);
		v.len = len;
	} else {
		status(id, SFTP_EOF);
	}
}

/* OpenSSH's way: it links, and fails when the name is taken. */
static int give_name(const char *from, const char *to)
{
	if (v.wrong == ODD_REPLACES)
		return rename(from, to);
	return link(from, to) || unlink(from) ? -1 : 0;
}

static void do_extended(uint32_t id)
{
	const char *name = take_text(NULL);

	if (!strcmp(name, "fsync@openssh.com"))
		status_of(id, fsync(v.fd[take_handle()]));
	else
		status(id, SFTP_OP_UNSUPPORTED);
}

static void do_path(unsigned type, uint32_t id)
{
	const char *path = take_text(NULL);
	struct stat st;
	int slot, rc;

	switch (type) {
	case SFTP_LSTAT:
		rc = lstat(path, &st);
		attrs(id, rc, &st);
		break;
	case SFTP_STAT:
		rc = stat(path, &st);
		attrs(id, rc, &st);
		break;
	case SFTP_REMOVE:
		status_of(id, unlink(path));
		break;
	case SFTP_MKDIR:
		status_of(id, mkdir(path, 0700));
		break;
	case SFTP_RENAME:
		status_of(id, give_name(path, take_text(NULL)));
		break;
	default:
		slot = free_slot();
		v.dir[slot] = opendir(path);
		if (v.dir[slot])
			handle(id, slot);
		else
			status_of(id, -1);
	}
}

static void serve(unsigned type, uint32_t id)
{
	struct stat st = {0};
	int rc;

	switch (type) {
	case SFTP_OPEN:
		do_open(id);
		break;
	case SFTP_CLOSE:
		do_close(id);
		break;
	case SFTP_READ:
		do_read(id);
		break;
	case SFTP_WRITE:
		do_write(id);
		break;
	case SFTP_FSTAT:
		rc = fstat(v.fd[take_handle()], &st);
		attrs(id, rc, &st);
		break;
	case SFTP_READDIR:
		do_readdir(id);
		break;
	case SFTP_EXTENDED:
		do_extended(id);
		break;
	case SFTP_SETSTAT:
		status(id, SFTP_OP_UNSUPPORTED);
		break;
	default:
		do_path(type, id);
	}
}

/* --- wrong answers, in place of the right one, which stands in v.out --- */

static void evil_names(uint32_t id)
{
	static const struct {
		const char *p;
		size_t n;
	} names[] = {{"../../etc/passwd", 16}, {"", 0}, {"a\0b", 3}, {"a\nb", 3}, {"\033]0;x\007", 6}, {"a/b", 3},
	        {".", 1}, {"..", 2}, {"\xff\xfe", 2}, {"ok", 2}};
	struct stat st = {.st_mode = S_IFREG | 0400};
	static char endless[70000];

	begin(SFTP_NAME, id);
	put32(sizeof names / sizeof *names + 1);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		put_bytes(names[i].p, names[i].n);
		put_bytes("", 0);
		put_attrs(&st);
	}
	memset(endless, 'k', sizeof endless);
	put_bytes(endless, sizeof endless);
	put_bytes("", 0);
	put_attrs(&st);
}

static void pretend(uint32_t id)
{
	static unsigned char data[SFTP_PACKET_MAX / 2];
	struct stat st = {.st_mode = S_IFREG | 0400, .st_size = (off_t)v.arg};

	switch (v.wrong) {
	case WRONG_STATUS:
	case WRONG_STATUS_AFTER:
		status(id, (uint32_t)v.arg);
		break;
	case WRONG_ID:
		status(id + 1000, SFTP_OK);
		break;
	case WRONG_TYPE:
		begin((unsigned)v.arg, id);
		break;
	case WRONG_HANDLE:
		begin(SFTP_HANDLE, id);
		put_bytes(data, v.arg);
		break;
	case WRONG_DATA:
		begin(SFTP_DATA, id);
		put_bytes(data, v.arg);
		break;
	case WRONG_NAMES:
		evil_names(id);
		break;
	case WRONG_COUNT:
		begin(SFTP_NAME, id);
		put32(v.arg);
		put_name(NULL, "ok");
		break;
	case WRONG_SIZE:
		attrs(id, 0, &st);
		break;
	default:
		break;
	}
}

static void go_wrong(unsigned type, uint32_t id)
{
	(void)unlink(v.path);
	if (v.wrong == WRONG_STATUS_AFTER || v.wrong == WRONG_EXIT_AFTER || v.wrong == WRONG_TWICE)
		serve(type, id);
	if (v.wrong == WRONG_EXIT || v.wrong == WRONG_EXIT_AFTER)
		_exit((int)v.arg);
	if (v.wrong == WRONG_SILENT)
		return;
	if (v.wrong == WRONG_LENGTH) {
		v.len = 0;
		put32(v.arg);
		send_all(v.out, 4);
		return;
	}
	if (v.wrong == WRONG_TEXT) {
		send_all("Welcome to this host!\r\n", 23);
		return;
	}
	if (v.wrong == WRONG_TWICE) {
		put_length();
		send_all(v.out, v.len);
	} else {
		pretend(id);
	}
	answer(0);
}

static bool is_odd(void)
{
	return v.wrong == WRONG_NOTHING || v.wrong >= ODD_PLAIN;
}

static void greet(void)
{
	v.len = 4;
	put8(SFTP_VERSION);
	put32(v.wrong == ODD_VERSION ? v.arg : 3);
	if (v.wrong != ODD_PLAIN) {
		put_bytes("fsync@openssh.com", 17);
		put_bytes("1", 1);
	}
	answer(0);
}

void sftp_serve(const char *dir)
{
	read_wrong(dir);
	for (int i = 0; i < HANDLES; i++)
		v.fd[i] = -1;
	for (;;) {
		uint32_t n;

		receive(&n, 4);
		v.n = __builtin_bswap32(n);
		if (!v.n || v.n > sizeof v.in)
			_exit(7);
		receive(v.in, v.n);
		v.at = 1;
		unsigned type = v.in[0];
		bool now = !is_odd() && type == v.type && ++v.seen[type & 255] == v.nth;

		if (type == SFTP_INIT && !now) {
			greet();
			continue;
		}
		uint32_t id = take32();

		if (now) {
			go_wrong(type, id);
			continue;
		}
		serve(type, id);
		answer(type);
	}
}
