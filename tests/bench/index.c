/* How the index grows: entries, then time to write and to load it, a lookup, and memory. index N FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "repo/index.h"

#define LOOKUPS 200000u
#define ROUNDS 6u /* the first one pays for what the machine does once for each page */
#define CHUNKS_A_PACK 90u /* of 256 KiB, which zstd makes a third of */

static double seconds_since(int64_t start)
{
	return (double)(clock_boot_ns() - start) / 1e9;
}

static long peak_mib(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss / 1024;
}

static void die(const struct err *err)
{
	fprintf(stderr, "%s\n", err->msg);
	exit(1);
}

static struct secret cache_key(void)
{
	struct secret k = {0};
	secret_set(&k, "a key for measuring only........", 32);
	return k;
}

static void write_index(uint32_t n, const char *path)
{
	struct index_delta d = {0};
	struct err err = ERR_INIT;
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);
	for (uint32_t i = 0; i < n; i++) {
		struct index_entry e = {.sealed_len = 80000, .plain_len = 250000, .type = CHUNK_CONTENT, .comp = COMP_ZSTD};
		if (i % CHUNKS_A_PACK == 0) {
			struct index_pack p = {.epoch = 1, .size = CHUNKS_A_PACK * 80000};
			rng_bytes(p.digest, sizeof p.digest);
			e.pack = index_delta_add_pack(&d, &p);
		}
		e.pack = i / CHUNKS_A_PACK;
		e.offset = i % CHUNKS_A_PACK * 80000;
		rng_bytes(e.id, sizeof e.id);
		index_delta_add(&d, &e);
	}
	int64_t start = clock_boot_ns();
	struct secret key = cache_key();
	if (index_delta_encode(&d, NULL, &b, &err) || index_cache_put(path, &key, b.p, b.len, &err))
		die(&err);
	printf("%10u entries: %6.1f MB, sorted and written in %.2f s", n, (double)b.len / 1e6, seconds_since(start));
	fflush(stdout);
	index_delta_release(&d);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* In a process of its own, so that its memory is that of the index alone. */
static void load_index(const char *path)
{
	struct err err = ERR_INIT;
	struct index *ix = index_new();
	struct index_place at;
	long before = peak_mib();
	unsigned found = 0;
	struct secret key = cache_key();
	int64_t start = clock_boot_ns();
	if (index_add_cache(ix, "merged", path, &key, &err))
		die(&err);
	printf(", loaded in %.1f ms and %ld MiB", 1e3 * seconds_since(start), peak_mib() - before);
	unsigned char(*id)[ID_LEN] = malloc(sizeof *id * LOOKUPS);
	double ns[ROUNDS];
	if (!id)
		abort();
	for (unsigned round = 0; round < ROUNDS; round++) {
		rng_bytes(id, sizeof *id * LOOKUPS);
		start = clock_boot_ns();
		for (unsigned i = 0; i < LOOKUPS; i++)
			found += index_lookup(ix, id[i], &at);
		ns[round] = 1e9 * seconds_since(start) / LOOKUPS;
	}
	qsort(ns + 1, ROUNDS - 1, sizeof *ns, by_value);
	printf(", %.0f ns a lookup (%.0f the first %u), %ld MiB after %u%s\n", ns[ROUNDS / 2], ns[0], LOOKUPS, peak_mib() - before, ROUNDS * LOOKUPS, found ? " (?)" : "");
	free(id);
	index_free(ix);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: index N FILE\n");
		return 2;
	}
	for (int step = 0; step < 2; step++) {
		int status;
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (!child) {
			if (step)
				load_index(argv[2]);
			else
				write_index((uint32_t)strtoul(argv[1], NULL, 10), argv[2]);
			exit(0);
		}
		if (waitpid(child, &status, 0) != child || status)
			return 1;
	}
	return unlink(argv[2]) != 0;
}
