/*
 * Frames and what stands in them; docs/format/wire.md is the full text. Decoders take bytes from outside: all are
 * bounded and leave what they were given in place.
 *
 * Frame = u32 length of the payload, u8 type, u32 request id, payload. Who asks numbers his requests from 1 upwards; the
 * two directions do not share numbers, because a type belongs to who asks or to who answers.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "wire/wire.h"

#define FRAME_HEAD 9
#define FRAME_PAYLOAD (WIRE_FRAME_MAX - FRAME_HEAD)
#define HELLO_MAGIC "HFWIRE\r\n"
#define HELLO_MAGIC_LEN 8
#define TEXT_MAX 255 /* version, role */
#define ARGS_MAX 4096
#define RESULT_MAX 4096
#define TROUBLE_LEN 7
#define GIVE_UP_LEN 3

enum frame_type {
	FRAME_HELLO = 1, /* first in both directions */
	/* from who asks */
	FRAME_REQUEST,
	FRAME_BODY,   /* more of its body */
	FRAME_CANCEL, /* no more of it, and no answer is wanted */
	FRAME_GRANT,  /* u32: so many more bytes of answer may come */
	/* from who answers */
	FRAME_PART,  /* more of the answer */
	FRAME_DONE,  /* code, message, result: the request is over */
	FRAME_ALLOW, /* u32: so many more bytes of body may come */
	/* both */
	FRAME_PING,
	FRAME_PONG,
	FRAME_BYE, /* text: why, "" when all is well */
	/* from version 2 on */
	FRAME_TROUBLE, /* from who serves: u16 store, u8 retrying, u32 refusals */
	FRAME_GIVE_UP, /* from who asks: u16 store, u8 given up */
};
struct frame {
	enum frame_type type;
	uint32_t id, n;
};
void frame_head(unsigned char out[FRAME_HEAD], enum frame_type type, uint32_t id, size_t n);
/* ERR_FORMAT for unknown types, and for lengths and ids that the type does not allow. */
int frame_parse(const unsigned char head[FRAME_HEAD], struct frame *ret, struct err *err) HF_NODISCARD;

struct hello {
	uint16_t min, max;
	uint32_t services;
	char version[TEXT_MAX + 1], role[TEXT_MAX + 1]; /* cleaned of control characters */
};
void hello_put(struct buf *out, const struct hello *h);
int hello_parse(const void *p, size_t n, struct hello *ret, struct err *err) HF_NODISCARD;

struct ask {
	uint8_t service, op;
	uint16_t number;
	uint64_t body; /* bytes that follow in BODY frames */
	const unsigned char *args;
	size_t n_args;
};
void ask_put(struct buf *out, const struct ask *a);
int ask_parse(const void *p, size_t n, struct ask *ret, struct err *err) HF_NODISCARD; /* args is borrowed */

/* An answer: rc 0 or -code with err, and the result. */
void done_put(struct buf *out, int rc, const struct err *err, const void *result, size_t n);
/* ERR_FORMAT when it is none. Else 0, *ret_rc and *ret_err are those of the other end, result is borrowed. */
int done_parse(const void *p, size_t n, int *ret_rc, struct err *ret_err, struct rd *result, struct err *err) HF_NODISCARD;

/* --- pieces --- */
void enc_u8(struct buf *b, uint8_t v);
void enc_u16(struct buf *b, uint16_t v);
void enc_u32(struct buf *b, uint32_t v);
void enc_u64(struct buf *b, uint64_t v);
void enc_text(struct buf *b, const char *s, size_t max); /* cut at max */
/* u16 length and bytes, at most max and without NUL, into out (max + 1 bytes). False: r is bad from then on. */
bool dec_text(struct rd *r, char *out, size_t max);

#endif
