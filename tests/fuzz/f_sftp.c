/* Input: an answer of a server without its length, read as each kind. What is borrowed must lie within the input. */
#include "sftp/sftp_packet.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(const uint8_t *data, size_t size, const void *p, size_t n)
{
	BUG_ON(n && ((const uint8_t *)p < data || (const uint8_t *)p + n > data + size));
}

static void read_names(const uint8_t *data, size_t size, struct sftp_reply *r)
{
	struct sftp_name name;
	uint32_t told = r->n_names, n = 0;
	int rc;

	while ((rc = sftp_get_name(r, &name, NULL)) > 0) {
		within(data, size, name.p, name.n);
		n++;
	}
	BUG_ON(rc == 0 && n != told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sftp_server server;
	struct sftp_limits limits;
	struct sftp_space space;
	struct sftp_reply r;
	struct err err = ERR_INIT;
	uint32_t n;

	if (size >= 4 && !sftp_get_length(data, &n, &err))
		BUG_ON(n == 0 || n > SFTP_PACKET_MAX);
	(void)!sftp_get_version(data, size, &server, &err);
	if (sftp_get_reply(data, size, &r, &err)) {
		BUG_ON(err.code != ERR_FORMAT);
		return 0;
	}
	BUG_ON(strnlen(r.said, sizeof r.said) == sizeof r.said || r.handle.n > SFTP_HANDLE_MAX);
	within(data, size, r.data, r.n_data);
	if (r.type == SFTP_NAME)
		read_names(data, size, &r);
	if (r.type == SFTP_EXTENDED_REPLY) {
		(void)!sftp_get_limits(&r, &limits, &err);
		(void)!sftp_get_space(&r, &space, &err);
	}
	return 0;
}
