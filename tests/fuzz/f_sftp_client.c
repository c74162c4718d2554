/*
 * Input: a byte that chooses an operation, then all that a server answers to it. The whole driver works on it, over a
 * socket pair in place of SSH: whatever comes, each operation ends, and what it says of keys and bytes keeps the rules.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/mem.h"
#include "ssh/ssh_impl.h"
#include "sftp/sftp.h"

#define IN_MAX ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void no_drain(struct ssh *s)
{
	(void)s;
}

static int gone(struct ssh *s, int64_t within_ms, int *ret_status, struct err *err)
{
	(void)within_ms;
	*ret_status = 255;
	return err_set(err, ERR_UNREACHABLE, "%s: the input is at its end", s->where);
}

static void end(struct ssh *s)
{
	ssh_release(s);
	free(s);
}

static const struct ssh_ops ops = {"none", no_drain, gone, end};

/* A link whose server has said all that it will ever say. */
static struct sftp_link *link_of(const uint8_t *data, size_t size)
{
	const struct ssh_config c = {.host = "host", .idle_ms = 20};
	struct sftp_link *l = xcalloc(1, sizeof *l);
	struct ssh *s = xcalloc(1, sizeof *s);

	s->ops = &ops;
	CLEAN(close_fd) int other = ssh_init(s, &c);

	BUG_ON(other < 0 || (size && write(other, data, size) != (ssize_t)size) || shutdown(other, SHUT_WR));
	l->ssh = s;
	buf_init(&l->out, (size_t)4 << 20);
	l->in = xmalloc((size_t)768 << 10);
	l->next_id = 1;
	l->idle_ms = 20;
	l->max_read = l->max_write = 4096;
	l->server = (struct sftp_server){3, true, true, true, true};
	return l;
}

static int check_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	char *last = arg;

	(void)st;
	(void)err;
	BUG_ON(!store_key_ok(key) || strcmp(key, last) <= 0);
	memcpy(last, key, strlen(key) + 1);
	return 0;
}

static void operate(struct store *s, unsigned what)
{
	static const unsigned char bytes[10000];
	const struct store_piece piece = {bytes, sizeof bytes};
	const struct store_src src = {&piece, 1};
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct store_sink sink = {store_buf_write, &b};
	struct store_stat st;
	struct err err = ERR_INIT;
	char last[STORE_KEY_MAX + 1] = "";
	int64_t at;

	switch (what % 8) {
	case 0:
		(void)!s->ops->stat(s, "p/a/b", &st, &err);
		break;
	case 1:
		if (!s->ops->get(s, "p/a/b", (struct store_range){0, 0}, &sink, &err))
			BUG_ON(b.len > 1 << 20);
		break;
	case 2:
		if (!s->ops->get(s, "p/a/b", (struct store_range){5, 100}, &sink, &err))
			BUG_ON(b.len > 100);
		break;
	case 3:
		(void)!s->ops->list(s, "", NULL, check_key, last, &err);
		break;
	case 4:
		(void)!s->ops->list(s, "p/a", "p/a/x", check_key, last, &err);
		break;
	case 5:
		BUG_ON(!s->ops->put(s, "p/a/b", &src, &err) && err.code);
		break;
	case 6:
		(void)!s->ops->remove(s, "p/a/b", &err);
		break;
	default:
		(void)!s->ops->clock(s, &at, &err);
		(void)!s->ops->attack(s, STORE_OVERWRITE, "p/a/b", &err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || size > IN_MAX)
		return 0;
	struct store *s = sftp_store_on(link_of(data + 1, size - 1));

	operate(s, data[0]);
	store_free(s);
	return 0;
}
