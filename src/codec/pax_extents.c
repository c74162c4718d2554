#include "codec/pax.h"

#include <errno.h>
#include <unistd.h>
#include "base/mem.h"

#define HOLE_MIN 4096u
#define ALIGN ((uint64_t)511) /* GNU tar reads a region in blocks: only the last may end inside one */

struct map {
	struct pax_extent *v;
	size_t n, cap;
	uint64_t hole_min; /* shorter holes count as data */
};

static uint64_t map_end(const struct map *m)
{
	return m->n ? m->v[m->n - 1].off + m->v[m->n - 1].len : 0;
}

static void map_put(struct map *m, uint64_t off, uint64_t end)
{
	uint64_t last = map_end(m);
	if (off < last || off - last < m->hole_min) {
		if (m->n) {
			m->v[m->n - 1].len = end - m->v[m->n - 1].off;
			return;
		}
		off = 0;
	}
	m->v = xgrow(m->v, m->n, &m->cap, sizeof(*m->v));
	m->v[m->n++] = (struct pax_extent){off, end - off};
}

/* A map with too many parts is made coarser until it fits: a function of the file alone, so the same on every run. */
static void map_coarsen(struct map *m)
{
	while (m->n >= PAX_EXTENTS_MAX) {
		m->hole_min *= 2;
		size_t n = m->n;
		m->n = 0;
		for (size_t i = 0; i < n; i++)
			map_put(m, m->v[i].off, m->v[i].off + m->v[i].len);
	}
}

/* 0, or -1 with errno; ENXIO from SEEK_DATA means that only a hole is left. */
static int map_scan(struct map *m, int fd, uint64_t size)
{
	for (uint64_t pos = 0; pos < size;) {
		off_t data = lseek(fd, (off_t)pos, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -1;
		if ((uint64_t)data >= size)
			return 0;
		off_t hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return errno == ENXIO ? 0 : -1;
		pos = MIN((uint64_t)hole, size);
		if (hole <= data)
			return 0;
		map_put(m, (uint64_t)data & ~ALIGN, MIN((pos + ALIGN) & ~ALIGN, size));
		map_coarsen(m);
	}
	return 0;
}

static bool no_holes(int fd, uint64_t size)
{
	off_t hole = size ? lseek(fd, 0, SEEK_HOLE) : 0;
	return !size || (hole >= 0 && (uint64_t)hole >= size);
}

int pax_extents(int fd, uint64_t size, struct pax_extent **ret, size_t *ret_n, struct err *err)
{
	*ret = NULL;
	*ret_n = 0;
	if (size > INT64_MAX)
		return err_set(err, ERR_UNSUPPORTED, "file of %llu bytes", (unsigned long long)size);
	off_t keep = lseek(fd, 0, SEEK_CUR);
	if (keep < 0)
		return err_sys(err, ERR_IO, "seek");
	struct map m = {.hole_min = HOLE_MIN};
	bool whole = no_holes(fd, size);
	int r = whole ? 0 : map_scan(&m, fd, size), saved = errno;
	if (lseek(fd, keep, SEEK_SET) < 0 && !r) {
		r = -1;
		saved = errno;
	}
	if (r && saved != EINVAL && saved != EOPNOTSUPP) {
		free(m.v);
		errno = saved;
		return err_sys(err, ERR_IO, "look for holes");
	}
	uint64_t end = map_end(&m);
	if (end < size) /* the tail: a last hole, or too short to be one */
		map_put(&m, size - end < m.hole_min ? end : size, size);
	if (r || whole || (m.n == 1 && m.v[0].len == size)) {
		free(m.v);
		return 0;
	}
	if (m.n > 1 && !m.v[m.n - 1].len)
		m.n--;
	*ret = m.v;
	*ret_n = m.n;
	return 0;
}
