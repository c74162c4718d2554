/*
 * Input: a byte that says which end we are, then what the other end sends behind its greeting. 's': a server with a memory store,
 * twice, and the rights of a writer; 'c': a client that opens, lists, reads and puts; 'j': a client that has a job done; 'f': the decoders
 * of single frames; 'w': a witness's request. The connection must come to an end, and nothing may be there that was not put whole.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/fs.h"
#include "evidence/witness.h"
#include "wire/access.h"
#include "wire/frame.h"

#define INPUT_MAX ((size_t)100 << 10) /* fits the socket: nothing has to be written while it is read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)st;
	(void)err;
	BUG_ON(!store_key_ok(key));
	++*(int *)arg;
	return 0;
}

static void use(struct wire *w)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	static const unsigned char bytes[5000];
	unsigned char digest[32];
	struct store_stat st;
	struct err err;
	int n = 0;

	if (wire_store_open(w, 0, "site", false, &s, &err))
		return;
	(void)!store_list(s, "a", NULL, count_key, &n, &err);
	(void)!store_get_range(s, "a/b", 0, 100, &b, &err);
	(void)!store_get(s, "a/b", &b, &err);
	(void)!store_stat(s, "a/b", &st, &err);
	(void)!store_digest(s, "a/b", digest, &err);
	(void)!store_put_bytes(s, "a/c", bytes, sizeof bytes, &err);
}

static void have_done(struct wire *w)
{
	CLEAN(json_release) json_t *doc = json_object(), *result = NULL;
	struct err err;

	(void)!wire_job_run(w, "job", doc, NULL, NULL, &result, &err);
}

static void serve(struct wire *w, struct store *s)
{
	static const struct wire_access a = {.role = WIRE_ROLE_CONTROLLER}; /* as long as the connection */
	struct err err;

	for (unsigned i = 0; i < 2; i++)
		wire_serve_store(w, i, &(struct wire_served){.store = s, .allow = wire_access_allow, .arg = (void *)&a});
	(void)!wire_run(w, &err);
}

static void connection(char end, const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(INPUT_MAX + 8192), hello = BUF_INIT(4096);
	const struct hello h = {.min = WIRE_VERSION_MIN, .max = WIRE_VERSION_MAX, .version = "0", .role = ""};
	const struct wire_opts o = {.name = "other", .idle_ms = 2000};
	unsigned char head[FRAME_HEAD];
	struct wire *w;
	int fd[2], room = 1 << 20;

	hello_put(&hello, &h);
	frame_head(head, FRAME_HELLO, 0, hello.len);
	buf_add(&b, head, sizeof head);
	buf_add(&b, hello.p, hello.len);
	buf_add(&b, data, MIN(size, INPUT_MAX));
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	BUG_ON(fs_write_full(fd[1], b.p, b.len));
	(void)shutdown(fd[1], SHUT_WR);
	BUG_ON(wire_new(fd[0], fd[0], &o, &w, NULL));
	if (end == 's') {
		CLEAN(store_free_ptr) struct store *s = NULL;

		BUG_ON(store_mem_open("fuzz", &s, NULL));
		serve(w, s);
		wire_free(w);
	} else {
		if (end == 'c')
			use(w);
		else
			have_done(w);
		wire_free(w);
	}
	close(fd[0]);
	close(fd[1]);
}

static void frames(const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf again = BUF_INIT(1 << 16);
	struct err err, told;
	struct frame f;
	struct hello h;
	struct ask a;
	struct rd r;
	int rc;

	if (size >= FRAME_HEAD && !frame_parse(data, &f, &err))
		BUG_ON(f.n > FRAME_PAYLOAD);
	if (!hello_parse(data, size, &h, &err)) {
		hello_put(&again, &h);
		BUG_ON(hello_parse(again.p, again.len, &h, &err));
	}
	if (!ask_parse(data, size, &a, &err))
		BUG_ON(a.n_args > size);
	if (!done_parse(data, size, &rc, &told, &r, &err)) {
		BUG_ON((rc != 0) != (told.code != 0) || r.left > size);
		buf_clear(&again);
		done_put(&again, rc, &told, NULL, 0);
		BUG_ON(done_parse(again.p, again.len, &rc, &told, &r, &err));
	}
}

static void asked_to_witness(const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf out = BUF_INIT(WITNESS_ANSWER_MAX);
	CLEAN(store_free_ptr) struct store *s = NULL;
	static struct witness *w;
	char dir[] = "/tmp/holdfast-fuzz-XXXXXX";
	char *vkey;
	int64_t t;

	BUG_ON(store_mem_open("witnessed", &s, NULL));
	if (!w) {
		BUG_ON(!mkdtemp(dir) || witness_create(dir, &vkey, NULL) || witness_open(dir, &w, NULL));
		BUG_ON(fs_remove_tree(dir, NULL));
		free(vkey);
	}
	(void)!witness_cosign(w, s, data, size, &out, NULL);
	unsigned char pub[ED25519_PUB_LEN] = {0};

	(void)!witness_vkey_parse((const char *)data, size, pub, NULL);
	(void)!witness_line_verify((const char *)data, size, pub, "text", 4, &t, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;

	if (!ready)
		crypto_init();
	ready = true;
	if (!size)
		return 0;
	switch (*data) {
	case 's':
	case 'c':
	case 'j':
		connection((char)*data, data + 1, size - 1);
		break;
	case 'f':
		frames(data + 1, size - 1);
		break;
	case 'w':
		asked_to_witness(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}
