#include "wire/frame.h"

#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define HELLO_MAX 4096
#define ASK_HEAD 12
#define DONE_MAX (RESULT_MAX + 1024)
#define BYE_MAX 1024

/* --- pieces --- */

void enc_u8(struct buf *b, uint8_t v)
{
	buf_add(b, &v, 1);
}

void enc_u16(struct buf *b, uint16_t v)
{
	buf_add(b, &v, 2);
}

void enc_u32(struct buf *b, uint32_t v)
{
	buf_add(b, &v, 4);
}

void enc_u64(struct buf *b, uint64_t v)
{
	buf_add(b, &v, 8);
}

void enc_text(struct buf *b, const char *s, size_t max)
{
	size_t n = strnlen(s, max);

	enc_u16(b, (uint16_t)n);
	buf_add(b, s, n);
}

bool dec_text(struct rd *r, char *out, size_t max)
{
	size_t n = rd_u16(r);
	const unsigned char *p = n <= max ? rd_bytes(r, n) : NULL;

	out[0] = '\0';
	if (!p || memchr(p, 0, n)) {
		r->bad = true;
		r->left = 0;
		return false;
	}
	memcpy(out, p, n);
	out[n] = '\0';
	return true;
}

/* Text of the other end that people will read. */
static bool dec_message(struct rd *r, char *out, size_t size)
{
	char raw[1024];

	BUG_ON(size > sizeof raw);
	if (!dec_text(r, raw, size - 1))
		return false;
	(void)log_safe(out, size, raw);
	return true;
}

/* --- frames --- */

static const struct {
	uint32_t min, max;
	bool numbered;
} rules[] = {
        [FRAME_HELLO] = {HELLO_MAGIC_LEN, HELLO_MAX, false},
        [FRAME_REQUEST] = {ASK_HEAD, ASK_HEAD + ARGS_MAX, true},
        [FRAME_BODY] = {1, FRAME_PAYLOAD, true},
        [FRAME_CANCEL] = {0, 0, true},
        [FRAME_GRANT] = {4, 4, true},
        [FRAME_PART] = {1, FRAME_PAYLOAD, true},
        [FRAME_DONE] = {7, DONE_MAX, true},
        [FRAME_ALLOW] = {4, 4, true},
        [FRAME_PING] = {0, 0, false},
        [FRAME_PONG] = {0, 0, false},
        [FRAME_BYE] = {2, BYE_MAX, false},
        [FRAME_TROUBLE] = {TROUBLE_LEN, TROUBLE_LEN, false},
        [FRAME_GIVE_UP] = {GIVE_UP_LEN, GIVE_UP_LEN, false},
};

void frame_head(unsigned char out[FRAME_HEAD], enum frame_type type, uint32_t id, size_t n)
{
	put_u32(out, (uint32_t)n);
	out[4] = (unsigned char)type;
	put_u32(out + 5, id);
}

int frame_parse(const unsigned char head[FRAME_HEAD], struct frame *ret, struct err *err)
{
	unsigned type = head[4];
	uint32_t n = get_u32(head), id = get_u32(head + 5);

	if (!type || type >= ARRAY_LEN(rules))
		return err_set(err, ERR_FORMAT, "a frame of unknown type %u", type);
	if (n < rules[type].min || n > rules[type].max)
		return err_set(err, ERR_FORMAT, "a frame of type %u with %u bytes", type, n);
	if (rules[type].numbered != (id != 0))
		return err_set(err, ERR_FORMAT, "a frame of type %u for request %u", type, id);
	*ret = (struct frame){(enum frame_type)type, id, n};
	return 0;
}

/* --- greeting --- */

void hello_put(struct buf *out, const struct hello *h)
{
	buf_add(out, HELLO_MAGIC, HELLO_MAGIC_LEN);
	enc_u16(out, h->min);
	enc_u16(out, h->max);
	enc_u32(out, h->services);
	enc_text(out, h->version, TEXT_MAX);
	enc_text(out, h->role, TEXT_MAX);
}

/* What a later version adds behind is passed over. */
int hello_parse(const void *p, size_t n, struct hello *ret, struct err *err)
{
	struct rd r = rd_init(p, n);
	const unsigned char *magic = rd_bytes(&r, HELLO_MAGIC_LEN);

	*ret = (struct hello){0};
	if (!magic || memcmp(magic, HELLO_MAGIC, HELLO_MAGIC_LEN) != 0)
		return err_set(err, ERR_FORMAT, "not a greeting");
	ret->min = rd_u16(&r);
	ret->max = rd_u16(&r);
	ret->services = rd_u32(&r);
	(void)dec_message(&r, ret->version, sizeof ret->version);
	(void)dec_message(&r, ret->role, sizeof ret->role);
	if (!rd_ok(&r) || !ret->min || ret->min > ret->max)
		return err_set(err, ERR_FORMAT, "a malformed greeting");
	return 0;
}

/* --- requests --- */

void ask_put(struct buf *out, const struct ask *a)
{
	enc_u8(out, a->service);
	enc_u8(out, a->op);
	enc_u16(out, a->number);
	enc_u64(out, a->body);
	buf_add(out, a->args, a->n_args);
}

int ask_parse(const void *p, size_t n, struct ask *ret, struct err *err)
{
	struct rd r = rd_init(p, n);

	ret->service = rd_u8(&r);
	ret->op = rd_u8(&r);
	ret->number = rd_u16(&r);
	ret->body = rd_u64(&r);
	ret->args = r.p;
	ret->n_args = r.left;
	return rd_ok(&r) ? 0 : err_set(err, ERR_FORMAT, "a request that is too short");
}

void done_put(struct buf *out, int rc, const struct err *err, const void *result, size_t n)
{
	bool told = rc && err && err->code;

	enc_u16(out, (uint16_t)(told ? (unsigned)err->code : rc ? (unsigned)ERR_INTERNAL : 0));
	enc_u8(out, told && err->retryable);
	enc_text(out, told ? err->msg : "", sizeof err->msg - 1);
	enc_text(out, told ? err->hint : "", sizeof err->hint - 1);
	buf_add(out, result, n);
}

static bool code_known(unsigned code)
{
	switch (code) {
#define ERR(name, num, status, retry, meaning) case num:
#include "base/err.def"
#undef ERR
		return true;
	default:
		return false;
	}
}

int done_parse(const void *p, size_t n, int *ret_rc, struct err *ret_err, struct rd *result, struct err *err)
{
	struct rd r = rd_init(p, n);
	char msg[sizeof ret_err->msg], hint[sizeof ret_err->hint];
	unsigned code = rd_u16(&r);
	uint8_t retryable = rd_u8(&r);

	(void)dec_message(&r, msg, sizeof msg);
	(void)dec_message(&r, hint, sizeof hint);
	if (!rd_ok(&r) || retryable > 1)
		return err_set(err, ERR_FORMAT, "a malformed answer");
	*ret_err = (struct err)ERR_INIT;
	*result = r;
	*ret_rc = 0;
	if (!code)
		return 0;
	/* a code of a later version is an error all the same */
	*ret_rc = err_set(ret_err, code_known(code) ? (enum err_code)code : ERR_FAILED, "%s", msg);
	ret_err->retryable = retryable;
	str_copy(ret_err->hint, sizeof ret_err->hint, hint);
	return 0;
}
