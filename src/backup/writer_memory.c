/* What a writer takes, and how it is made to fit a bound. */
#include "backup/writer_internal.h"

#include "base/str.h"

#define MIB (1ull << 20)
#define WRITER_BASE (18 * MIB) /* program and libraries, windows on the files cache, names being sorted, lists being built */
#define HUGE_ROUND (2 * MIB)   /* a mapping's last huge page */
#define AIM_LEAST (4u << 20)

/* A buffer that is read into, the largest chunk plain and stored, compression, and its share of records in the ring. */
static uint64_t per_worker(int level)
{
	return READ_BUF_SIZE + 2 * CHUNK_CUT_MAX + zframe_memory(level) + RING_SLOTS_A_WORKER * (uint64_t)CHUNK_SIZES_RECORDS.max;
}

static uint64_t need(const struct writer_memory *m, int level)
{
	return WRITER_BASE + READ_BUF_SIZE + m->workers * per_worker(level) + m->packs * (m->pack_aim + (uint64_t)CHUNK_CUT_MAX + HUGE_ROUND);
}

int writer_memory_plan(uint64_t memory, int level, struct writer_memory *m, struct err *err)
{
	const struct writer_memory least = {.workers = 1, .packs = PACKS_MIN, .pack_aim = AIM_LEAST};
	m->pack_aim = PACK_AIM;
	if (!memory || need(m, level) <= memory)
		return 0;
	if (memory < need(&least, level)) {
		char given[32];
		err_set(err, ERR_USAGE, "--memory of %s is too little for a backup", str_human_size(given, memory));
		return err_hint(err, "at level %d it needs at least %lluMiB", level, (unsigned long long)((need(&least, level) + MIB - 1) / MIB));
	}
	m->pack_aim = AIM_LEAST;
	while (need(m, level) > memory && m->packs > PACKS_MIN)
		m->packs--;
	while (need(m, level) > memory)
		m->workers--;
	m->pack_aim += (uint32_t)((memory - need(m, level)) / m->packs);
	m->pack_aim = MIN(m->pack_aim, PACK_AIM);
	return 0;
}
