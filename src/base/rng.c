#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

void rng_bytes(void *p, size_t n)
{
	unsigned char *at = p;

	while (n) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			BUG("getrandom failed");
		at += got;
		n -= (size_t)got;
	}
}

void rng_hex(char *out, size_t n)
{
	unsigned char raw[64];

	*out = '\0';
	while (n) {
		size_t take = MIN(n, sizeof raw);

		rng_bytes(raw, take);
		out += hex_encode(out, raw, take);
		n -= take;
	}
	mem_cleanse(raw, sizeof raw);
}
