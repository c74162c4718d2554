/*
 * Members of the JSON in keys and signed objects: setters that cannot fail and getters that check form and range.
 * `what` names the object in messages. Getters return 0 or -ERR_FORMAT.
 */
#ifndef REPO_FIELDS_H
#define REPO_FIELDS_H

#include "base/json.h"
#include "repo/format.h"

#define FIELDS_INT_MAX (UINT64_C(1) << 53)

/* Set a new reference; memory that ran out is fatal. */
void fields_set(json_t *o, const char *key, json_t *v);
void fields_push(json_t *array, json_t *v);
/* ERR_FORMAT above 2^53. */
int fields_set_u64(json_t *o, const char *key, uint64_t v, struct err *err) HF_NODISCARD;
/* Hex, or null. */
void fields_set_hex_or_null(json_t *o, const char *key, bool has, const void *p, size_t n);
/* RFC 3339; 0 stands for now. */
void fields_set_time(json_t *o, const char *key, int64_t wall_ns);

/* 0 to max. */
int fields_u64(const json_t *o, const char *key, const char *what, uint64_t max, uint64_t *ret, struct err *err)
        HF_NODISCARD;
/* "epoch", from 1. */
int fields_epoch(const json_t *o, const char *what, uint32_t *ret, struct err *err) HF_NODISCARD;
/* A name of a source, class or plan. */
int fields_id(const json_t *o, const char *key, const char *what, char out[SOURCE_MAX + 1], struct err *err)
        HF_NODISCARD;
/* An attempt or lineage. */
int fields_name16(const json_t *o, const char *key, const char *what, char out[NAME16], struct err *err) HF_NODISCARD;
/* "run": 1 to 32 hex digits. */
int fields_run(const json_t *o, const char *what, char out[33], struct err *err) HF_NODISCARD;
int fields_time(const json_t *o, const char *key, const char *what, int64_t *ret, struct err *err) HF_NODISCARD;
int fields_hex_or_null(const json_t *o, const char *key, const char *what, bool *has, void *out, size_t n,
        struct err *err) HF_NODISCARD;

#endif
