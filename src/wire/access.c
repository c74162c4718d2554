#include "wire/access.h"

#include <string.h>
#include "base/mem.h"
#include "base/str.h"

/*
 * The keys that there are, by docs/format. In a shape, S is the name of a source, N a number, D ten digits, L twenty, A 16
 * hex digits, H 32 and G 64, I a word; all else stands for itself. Only these may be put: another name could stand in the way
 * of one that comes later.
 */
enum class {
	CLASS_CFG,
	CLASS_KEYS,
	CLASS_ENVELOPE,
	CLASS_PACK,
	CLASS_INDEX,
	CLASS_ATTEMPT,
	CLASS_SNAPSHOT,
	CLASS_RECEIPT,
	CLASS_EXPIRY,
	CLASS_APPROVAL,
	CLASS_LEASE,
	CLASS_LOG,
	CLASS_PROBE,
	CLASS_MENDED, /* b/ and the key of the object that it is about, and what lies beside such a one */
	CLASS_OTHER, /* a key that is no object of the format */
	CLASSES
};
static const struct {
	enum class class_;
	const char *shape;
} shapes[] = {
        {CLASS_CFG, "cfg/N"},
        {CLASS_CFG, "cfg/N.G"},
        {CLASS_KEYS, "k/S/N"},
        {CLASS_KEYS, "k/S/N.G"},
        {CLASS_ENVELOPE, "e/S/H/H"},
        {CLASS_PACK, "p/S/A/G"},
        {CLASS_INDEX, "i/S/A.N"},
        {CLASS_INDEX, "i/S/m.G"},
        {CLASS_INDEX, "i/S/m.G.N"},
        {CLASS_ATTEMPT, "w/S/A/open"},
        {CLASS_ATTEMPT, "w/S/A/beat.N"},
        {CLASS_ATTEMPT, "w/S/A/fate"},
        {CLASS_SNAPSHOT, "s/S/A/D"},
        {CLASS_RECEIPT, "r/S/A/D"},
        {CLASS_EXPIRY, "x/S/A"},
        {CLASS_EXPIRY, "x/S/A.G"},
        {CLASS_APPROVAL, "a/G/I"},
        {CLASS_LEASE, "q/S/I/I"},
        {CLASS_LOG, "l/A/key"},
        {CLASS_LOG, "l/A/key.G"},
        {CLASS_LOG, "l/A/records/L-L"},
        {CLASS_LOG, "l/A/records/L-L.G"},
        {CLASS_LOG, "l/A/checkpoint/L"},
        {CLASS_LOG, "l/A/checkpoint/L.G"},
        {CLASS_LOG, "l/A/checkpoint/L.sshsig"},
        {CLASS_LOG, "l/A/checkpoint/L.sshsig.G"},
        {CLASS_LOG, "l/A/checkpoint/L.A.cosig"},
        {CLASS_PROBE, "probe/I/I"},
};

enum { GET = 1, PUT = 2 };
/* What each role may do beyond LIST, STAT, SYNC, CLOCK, DIGEST and LOCK, which tell no contents, in this order: */
static const unsigned char rights[WIRE_ROLES][CLASSES] = {
        /*                        cfg        k          e          p          i          w          s          r          x */
        /*                        a          q          l          probe      b          other */
        [WIRE_ROLE_SOURCE] = {GET, GET | PUT, GET | PUT, PUT, GET | PUT, GET | PUT, GET | PUT, 0, GET},
        [WIRE_ROLE_PUT] = {GET | PUT, GET | PUT, GET | PUT, PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET,
                GET, GET, GET | PUT, GET | PUT, GET | PUT},
        [WIRE_ROLE_GET] = {GET, GET, GET, GET, GET, GET, GET, GET, GET, GET, GET, GET, GET, GET, GET},
        [WIRE_ROLE_AUDIT] = {[CLASS_CFG] = GET, [CLASS_ATTEMPT] = GET, [CLASS_SNAPSHOT] = GET, [CLASS_RECEIPT] = GET,
                [CLASS_EXPIRY] = GET, [CLASS_APPROVAL] = GET, [CLASS_LEASE] = GET, [CLASS_LOG] = GET,
                [CLASS_MENDED] = GET},
        [WIRE_ROLE_CONTROLLER] = {GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT,
                GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET | PUT, GET},
};
static const char *const names[WIRE_ROLES] = {
        [WIRE_ROLE_SOURCE] = "source",
        [WIRE_ROLE_PUT] = "put",
        [WIRE_ROLE_GET] = "get",
        [WIRE_ROLE_AUDIT] = "audit",
        [WIRE_ROLE_CONTROLLER] = "controller",
};

const char *wire_role_name(enum wire_role role)
{
	return names[role];
}

bool wire_role_parse(const char *name, enum wire_role *ret)
{
	for (size_t i = 0; i < WIRE_ROLES; i++) {
		if (str_eq(name, names[i])) {
			*ret = (enum wire_role)i;
			return true;
		}
	}
	return false;
}

bool wire_role_may_put(enum wire_role role)
{
	return rights[role][CLASS_PACK] & PUT;
}

/* --- shapes --- */

#define DIGITS "0123456789"
#define HEX DIGITS "abcdef"
#define WORD HEX "ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-."

static bool exactly(const char **key, const char *of, size_t n)
{
	if (strspn(*key, of) < n)
		return false;
	*key += n;
	return true;
}

/* One piece of a shape; what follows it has to fit the rest, so each takes a fixed or the longest run. */
static bool piece_fits(char piece, const char **key, char source[64])
{
	size_t n;

	switch (piece) {
	case 'N':
		n = strspn(*key, DIGITS);
		return n <= 20 && n && (n == 1 || **key != '0') && exactly(key, DIGITS, n);
	case 'D':
		return exactly(key, DIGITS, 10);
	case 'L':
		return exactly(key, DIGITS, 20);
	case 'A':
		return exactly(key, HEX, 16);
	case 'H':
		return exactly(key, HEX, 32);
	case 'G':
		return exactly(key, HEX, 64);
	case 'I':
		n = strspn(*key, WORD);
		return n && exactly(key, WORD, n);
	case 'S':
		n = strcspn(*key, "/");
		if (!n || n > 63)
			return false;
		memcpy(source, *key, n);
		source[n] = '\0';
		*key += n;
		return str_is_id(source);
	default:
		return *(*key)++ == piece;
	}
}

static bool fits(const char *shape, const char *key, char source[64])
{
	source[0] = '\0';
	/* lower-case words of a shape are themselves: none of them holds a capital */
	for (; *shape; shape++)
		if (!*key || !piece_fits(*shape, &key, source))
			return false;
	return !*key;
}

static enum class shape_of(const char *key, char source[64])
{
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		if (fits(shapes[i].shape, key, source))
			return shapes[i].class_;
	source[0] = '\0';
	return CLASS_OTHER;
}

/* source: "" for those that belong to none. */
static enum class classify(const char *key, char source[64])
{
	if (!str_starts(key, "b/"))
		return shape_of(key, source);
	enum class of = shape_of(key + 2, source);
	const char *dot = strrchr(key, '.');

	if (of == CLASS_OTHER && dot && strlen(dot + 1) == 64 && strspn(dot + 1, HEX) == 64) {
		CLEAN(free_ptr) char *first = xstrndup(key + 2, (size_t)(dot - key) - 2);

		of = shape_of(first, source);
	}
	return of == CLASS_OTHER ? of : CLASS_MENDED;
}

/* --- judging --- */

static int denied(const struct wire_access *a, const char *what, const char *key, struct err *err)
{
	if (!err)
		return -ERR_DENIED;
	return err_set(err, ERR_DENIED, "role %s%s%s may not %s %s", names[a->role], a->source[0] ? " of source " : "",
	        a->source, what, key);
}

/* A credential of one source writes nothing that belongs to all. */
static bool source_fits(const struct wire_access *a, enum class c, const char *source, bool put)
{
	if (!a->source[0])
		return true;
	if (source[0] && c != CLASS_LEASE)
		return strcmp(source, a->source) == 0;
	return !put || c == CLASS_PROBE;
}

static int may(const struct wire_access *a, unsigned right, const char *what, const char *key, struct err *err)
{
	char source[64];

	if (!right && !a->source[0])
		return 0;
	enum class c = classify(key, source);

	if ((right && !(rights[a->role][c] & right)) || !source_fits(a, c, source, right == PUT))
		return denied(a, what, key, err);
	return 0;
}

int wire_access_allow(void *arg, enum wire_op op, const char *key, struct err *err)
{
	const struct wire_access *a = arg;

	switch (op) {
	case WIRE_OPEN:
	case WIRE_SYNC:
	case WIRE_CLOCK:
		return 0;
	case WIRE_PUT:
	case WIRE_SAME:
		return may(a, PUT, "put", key, err);
	case WIRE_GET:
	case WIRE_OLDER:
		return may(a, GET, "get", key, err);
	case WIRE_STAT:
	case WIRE_LIST:
	case WIRE_DIGEST:
	case WIRE_LOCK:
		return may(a, 0, "look at", key, err);
	case WIRE_EXTEND:
		return a->role == WIRE_ROLE_CONTROLLER ? 0 : denied(a, "extend the lock of", key, err);
	case WIRE_COSIGN:
		/* who writes the log has it witnessed */
		return rights[a->role][CLASS_LOG] & PUT && !a->source[0] ? 0 : denied(a, "ask for", "a cosignature", err);
	default:
		return denied(a, "change or remove", key, err);
	}
}
