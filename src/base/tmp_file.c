#include "base/tmp_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"

int tmp_file_open(const char *dir, int *ret_fd, struct err *err)
{
	if (!dir)
		dir = "/var/tmp";
	*ret_fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*ret_fd >= 0)
		return 0;
	/* not every file system has O_TMPFILE */
	CLEAN(free_ptr) char *name = fs_join(dir, FS_TMP_PREFIX "XXXXXX");
	*ret_fd = mkostemp(name, O_CLOEXEC);
	if (*ret_fd < 0)
		return err_sys(err, ERR_IO, "make a temporary file in '%s'", dir);
	unlink(name);
	return 0;
}

int tmp_file_write(int fd, const void *p, size_t n, uint64_t off, struct err *err)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pwrite(fd, (const char *)p + done, n - done, (off_t)(off + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return err_sys(err, ERR_IO, "write a temporary file");
		done += (size_t)k;
	}
	return 0;
}

int tmp_file_read(int fd, void *p, size_t n, uint64_t off, struct err *err)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pread(fd, (char *)p + done, n - done, (off_t)(off + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(err, ERR_IO, "read a temporary file");
		if (!k)
			return err_set(err, ERR_IO, "read a temporary file: it is shorter than what was written");
		done += (size_t)k;
	}
	return 0;
}
