/*
 * JSON through jansson, with the rules of this project in one place.
 *
 * Canonical text (RFC 8785, kept simple): ASCII keys, integers within +-2^53, no reals, no control characters in
 * strings, duplicates refused; inside that, jansson's compact sorted form is canonical.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include "base/buf.h"

/* json_decref for CLEAN(). */
void json_release(json_t **j);
/* Canonical bytes appended to out; ERR_FORMAT where the value breaks the rules above. */
int json_canonical(const json_t *j, struct buf *out, struct err *err) HF_NODISCARD;
/*
 * Parse one value from outside bytes: depth at most 64, duplicates refused; `what` names it in errors. ERR_NOMEM past
 * `limit` bytes, ERR_FORMAT for anything malformed.
 */
int json_parse(const void *p, size_t n, size_t limit, const char *what, json_t **ret, struct err *err) HF_NODISCARD;
/* The same, and the text must be byte for byte canonical. */
int json_parse_canonical(const void *p, size_t n, size_t limit, const char *what, json_t **ret, struct err *err)
        HF_NODISCARD;
/* Required members of an object; ERR_FORMAT naming `what` and key. Strings are borrowed. */
int json_get_str(const json_t *o, const char *key, const char *what, const char **ret, struct err *err) HF_NODISCARD;
int json_get_int(const json_t *o, const char *key, const char *what, int64_t *ret, struct err *err) HF_NODISCARD;
int json_get_bool(const json_t *o, const char *key, const char *what, bool *ret, struct err *err) HF_NODISCARD;
int json_get_obj(const json_t *o, const char *key, const char *what, json_t **ret, struct err *err) HF_NODISCARD;
int json_get_arr(const json_t *o, const char *key, const char *what, json_t **ret, struct err *err) HF_NODISCARD;
/* Lower-case hex member of exactly n bytes; base64 member of exactly n bytes. */
int json_get_hex(const json_t *o, const char *key, const char *what, void *out, size_t n, struct err *err) HF_NODISCARD;
int json_get_b64(const json_t *o, const char *key, const char *what, void *out, size_t n, struct err *err) HF_NODISCARD;
json_t *json_hex(const void *p, size_t n);
json_t *json_b64(const void *p, size_t n);
json_t *json_time(int64_t wall_ns); /* RFC 3339 text, null when 0 */
/* Set key to the name when it is UTF-8 without control characters, else to a lossy form and key_b64 to its bytes. */
void json_set_path(json_t *o, const char *key, const void *path, size_t n);

#endif
