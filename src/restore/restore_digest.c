#include "restore/restore_digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "restore/target.h"

#define HOLES_MAX (1ull << 40)

struct digests {
	FILE *f;
	char *path;
	struct sha256 *h;
	struct content_pos pos;
	uint64_t at; /* of the file: summed so far */
	bool skip;
	atomic_bool *cancel;
};

int digests_open(const char *path, struct digests **ret, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, ERR_IO, "cannot write the list of digests %s", path);
	struct digests *d = xcalloc(1, sizeof *d);
	d->f = fdopen(fd, "w");
	BUG_ON(!d->f);
	d->path = xstrdup(path);
	d->h = sha256_new();
	*ret = d;
	return 0;
}

void digests_begin(struct digests *d, const struct pax_entry *e)
{
	d->pos = (struct content_pos){.e = e};
	d->at = 0;
	d->skip = e->size - e->content_len > HOLES_MAX;
	sha256_reset(d->h);
}

static void zeros_to(struct digests *d, uint64_t off, const atomic_bool *cancel)
{
	static const unsigned char zeros[64u << 10];
	while (d->at < off && !(cancel && atomic_load(cancel))) {
		size_t n = (size_t)MIN(off - d->at, (uint64_t)sizeof zeros);
		sha256_update(d->h, zeros, n);
		d->at += n;
	}
}

void digests_content(struct digests *d, const void *p, size_t n)
{
	const unsigned char *from = p;
	while (n && !d->skip) {
		uint64_t off;
		size_t run = content_run(&d->pos, n, &off);
		if (!run)
			return; /* refused by the writer */
		zeros_to(d, off, d->cancel);
		sha256_update(d->h, from, run);
		d->at += run;
		from += run;
		n -= run;
	}
}

/* A name with a backslash, a line feed or a carriage return is escaped, and its line says so by a backslash in front.
 */
static void put_line(FILE *f, const char *hex, const char *path)
{
	if (!strpbrk(path, "\\\n\r")) {
		fprintf(f, "%s  %s\n", hex, path);
		return;
	}
	fprintf(f, "\\%s  ", hex);
	for (; *path; path++) {
		if (*path == '\\')
			fputs("\\\\", f);
		else if (*path == '\n')
			fputs("\\n", f);
		else if (*path == '\r')
			fputs("\\r", f);
		else
			putc(*path, f);
	}
	putc('\n', f);
}

int digests_end(struct digests *d, const char *path, atomic_bool *cancel, struct err *err)
{
	unsigned char digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];
	if (d->skip) {
		log_msg(LOG_WARN, "%s: has more than 1 TiB of holes; left out of the list of digests", path);
		return 0;
	}
	d->cancel = cancel;
	zeros_to(d, d->pos.e->size, cancel);
	if (cancel && atomic_load(cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	sha256_final(d->h, digest);
	hex_encode(hex, digest, sizeof digest);
	put_line(d->f, hex, path);
	return ferror(d->f) ? err_sys(err, ERR_IO, "cannot write the list of digests %s", d->path) : 0;
}

int digests_close(struct digests **d, struct err *err)
{
	int rc = fflush((*d)->f) || fsync(fileno((*d)->f))
	                 ? err_sys(err, ERR_IO, "cannot write the list of digests %s", (*d)->path)
	                 : 0;
	digests_free(*d);
	*d = NULL;
	return rc;
}

void digests_free(struct digests *d)
{
	if (!d)
		return;
	fclose(d->f);
	free(d->path);
	sha256_free(d->h);
	free(d);
}
