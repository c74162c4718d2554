/* Inside of the check with an opening key: check_data.c (the index), check_chunks.c (a pack's chunks, by several threads). */
#ifndef VERIFY_CHECK_DATA_H
#define VERIFY_CHECK_DATA_H

#include <pthread.h>
#include "verify/check_internal.h"

struct opened;
struct data {
	struct check c;
	struct check_trees trees;
	struct reader *r;
	struct index *index;   /* what the site's index objects say now */
	pthread_mutex_t mutex; /* of what follows, of trees and the counters of chunks */
	pthread_cond_t changed;
	struct opened *busy; /* packs whose chunks others may take */
	size_t unopened;     /* packs that will be there too, or turn out to have no chunks to take */
};
/* The worker's part of check_ops; arg is a struct data. */
void *chunks_open(void *arg);
int chunks_pack(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err) HF_NODISCARD;
bool chunks_help(void *worker);
void chunks_halt(void *arg);
void chunks_close(void *worker);

#endif
