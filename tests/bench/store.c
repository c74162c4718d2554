/*
 * store put|get URL COUNT MIB THREADS: objects of random bytes to or from a store, named by their digests as packs are,
 * and the rate; a get finds their names by a list. Keys and files of the store come from the environment: IDENTITY and
 * KNOWN_HOSTS, AWS_ACCESS_KEY_ID and so on, ENDPOINT, REGION, CA_FILE. LIBSSH2=1 asks for that back end.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "store/store.h"
#include "place/place.h"

#define PREFIX "p/bench/"
#define OBJECTS_MAX 4096

struct job {
	struct store *store;
	const unsigned char *bytes;
	size_t size;
	unsigned count;
	bool put;
	char (*key)[STORE_KEY_MAX + 1]; /* of a put */
	struct store_keys found;        /* of a get */
	atomic_uint next;
	atomic_bool failed;
};

static double now(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t))
		exit(1);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* All objects are the same but for their first bytes, their number. */
static struct store_src object(const struct job *j, const unsigned *no, struct store_piece piece[2])
{
	piece[0] = (struct store_piece){no, sizeof *no};
	piece[1] = (struct store_piece){j->bytes + sizeof *no, j->size - sizeof *no};
	return (struct store_src){piece, 2};
}

static void name_objects(struct job *j)
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	unsigned char digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	j->key = xcalloc(j->count, sizeof *j->key);
	for (unsigned i = 0; i < j->count; i++) {
		struct store_piece piece[2];
		const struct store_src src = object(j, &i, piece);

		sha256_reset(h);
		for (size_t k = 0; k < src.n_pieces; k++)
			sha256_update(h, piece[k].p, piece[k].n);
		sha256_final(h, digest);
		hex_encode(hex, digest, sizeof digest);
		(void)snprintf(j->key[i], sizeof j->key[i], PREFIX "0123456789abcdef/%s", hex);
	}
}

static int one(struct job *j, unsigned i, struct buf *b, struct err *err)
{
	struct store_piece piece[2];

	if (j->put) {
		const struct store_src src = object(j, &i, piece);

		return store_put(j->store, j->key[i], &src, err);
	}
	buf_clear(b);
	int rc = store_get(j->store, j->found.key[i], b, err);

	return rc ? rc : b->len == j->size ? 0 : err_set(err, ERR_CORRUPT, "%s has %zu bytes", j->found.key[i], b->len);
}

static void *run(void *arg)
{
	struct job *j = arg;
	CLEAN(buf_release) struct buf b = BUF_INIT(j->size);
	struct err err = ERR_INIT;

	for (unsigned i; (i = atomic_fetch_add(&j->next, 1)) < j->count && !atomic_load(&j->failed);) {
		if (one(j, i, &b, &err)) {
			log_err(&err);
			atomic_store(&j->failed, true);
		}
	}
	return NULL;
}

static struct store_config from_environment(void)
{
	return (struct store_config){
	        .create = true,
	        .identity = getenv("IDENTITY"),
	        .known_hosts = getenv("KNOWN_HOSTS"),
	        .ssh_library = getenv("LIBSSH2") != NULL,
	        .access_key = getenv("AWS_ACCESS_KEY_ID"),
	        .secret_key = getenv("AWS_SECRET_ACCESS_KEY"),
	        .session_token = getenv("AWS_SESSION_TOKEN"),
	        .endpoint = getenv("ENDPOINT"),
	        .region = getenv("REGION"),
	        .ca_file = getenv("CA_FILE"),
	};
}

int main(int argc, char **argv)
{
	struct job j = {0};
	struct err err = ERR_INIT;
	const struct store_config c = from_environment();
	pthread_t thread[64];
	size_t threads = argc == 6 ? strtoul(argv[5], NULL, 10) : 0;

	if (!threads || threads > ARRAY_LEN(thread)) {
		fprintf(stderr, "store put|get URL COUNT MIB THREADS\n");
		return 2;
	}
	log_set(LOG_ERROR, false);
	crypto_init();
	j.put = !strcmp(argv[1], "put");
	j.count = (unsigned)strtoul(argv[3], NULL, 10);
	j.size = strtoul(argv[4], NULL, 10) << 20;
	unsigned char *bytes = xmalloc(j.size ? j.size : 1);

	if (!j.count || j.count > OBJECTS_MAX || !j.size) {
		fprintf(stderr, "COUNT is 1 to %d, MIB at least 1\n", OBJECTS_MAX);
		return 2;
	}
	rng_bytes(bytes, j.size);
	j.bytes = bytes;
	if (j.put)
		name_objects(&j);
	double began = now();
	int rc = place_open(argv[2], &c, &j.store, &err);

	if (!rc && !j.put)
		rc = store_list_all(j.store, PREFIX, &j.found, &err);
	if (!rc && !j.put && j.found.n != j.count)
		rc = err_set(&err, ERR_MISSING, "%zu objects are there, not %u", j.found.n, j.count);
	if (rc) {
		log_err(&err);
		return 1;
	}
	for (size_t i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, run, &j))
			return 1;
	for (size_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	double took = now() - began;

	store_free(j.store);
	store_keys_release(&j.found);
	free(j.key);
	free(bytes);
	printf("%.1f\n", (double)j.count * (double)j.size / 1048576 / took);
	return atomic_load(&j.failed);
}
