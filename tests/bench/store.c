/*
 * store put|get URL COUNT MIB THREADS: objects of random bytes to or from a store, and the rate. Keys and files of the
 * store come from the environment: IDENTITY and KNOWN_HOSTS, AWS_ACCESS_KEY_ID and so on, ENDPOINT, REGION, CA_FILE.
 * LIBSSH2=1 asks for that back end.
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
#include "crypto/crypto.h"
#include "store/store.h"
#include "place/place.h"

struct job {
	struct store *store;
	const unsigned char *bytes;
	size_t size;
	unsigned count;
	bool put;
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

static int one(struct job *j, const char *key, struct buf *b, struct err *err)
{
	if (j->put)
		return store_put_bytes(j->store, key, j->bytes, j->size, err);
	buf_clear(b);
	int rc = store_get(j->store, key, b, err);

	return rc ? rc : b->len == j->size ? 0 : err_set(err, ERR_CORRUPT, "%s has %zu bytes", key, b->len);
}

static void *run(void *arg)
{
	struct job *j = arg;
	CLEAN(buf_release) struct buf b = BUF_INIT(j->size);
	struct err err = ERR_INIT;
	char key[64];

	for (unsigned i; (i = atomic_fetch_add(&j->next, 1)) < j->count && !atomic_load(&j->failed);) {
		(void)snprintf(key, sizeof key, "p/bench/%04u", i);
		if (one(j, key, &b, &err)) {
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

	rng_bytes(bytes, j.size);
	j.bytes = bytes;
	double began = now();

	if (place_open(argv[2], &c, &j.store, &err)) {
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
	free(bytes);
	printf("%.1f\n", (double)j.count * (double)j.size / 1048576 / took);
	return atomic_load(&j.failed);
}
