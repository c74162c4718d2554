/* Unlinked temporary files of the source side: what does not fit into memory. */
#ifndef BASE_TMP_FILE_H
#define BASE_TMP_FILE_H

#include <stdint.h>
#include "base/err.h"

/* A new file of mode 0600 without a name, in dir, or in /var/tmp when dir is NULL. */
int tmp_file_open(const char *dir, int *ret_fd, struct err *err) HF_NODISCARD;
/* Write or read all n bytes at an offset; reading less is ERR_IO. */
int tmp_file_write(int fd, const void *p, size_t n, uint64_t off, struct err *err) HF_NODISCARD;
int tmp_file_read(int fd, void *p, size_t n, uint64_t off, struct err *err) HF_NODISCARD;

#endif
