/* Runs a fuzz target over the files of a corpus, without a fuzzing engine: so that every compiler and sanitizer replays it. */
#include <dirent.h>
#include <stdio.h>
#include <stdint.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	size_t n = 0;
	log_set(LOG_ERROR, false);
	crypto_init();
	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		if (!d) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		for (const struct dirent *e; (e = readdir(d)); n++) {
			CLEAN(free_ptr) char *path = fs_join(argv[i], e->d_name);
			CLEAN(buf_release) struct buf b = BUF_INIT(16u << 20);
			struct err err = ERR_INIT;
			if (e->d_name[0] == '.')
				continue;
			if (fs_read(path, &b, &err)) {
				fprintf(stderr, "%s\n", err.msg);
				return 1;
			}
			LLVMFuzzerTestOneInput(b.p ? b.p : (const uint8_t *)"", b.len);
		}
		closedir(d);
	}
	printf("%zu inputs replayed\n", n);
	return n == 0;
}
