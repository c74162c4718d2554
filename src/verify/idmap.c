#include "verify/idmap.h"

#include <string.h>
#include "base/mem.h"

#define CAP_MIN 1024u

void idmap_release(struct idmap *m)
{
	free(m->key);
	free(m->value);
	*m = (struct idmap){0};
}

/* Where the id is, or the empty place where it belongs. */
static size_t place(const struct idmap *m, const unsigned char *id)
{
	size_t i = (size_t)get_u64(id) & (m->cap - 1);

	while (m->value[i] && memcmp(m->key[i], id, IDMAP_KEY_LEN) != 0)
		i = (i + 1) & (m->cap - 1);
	return i;
}

static void grow(struct idmap *m)
{
	struct idmap old = *m;

	m->cap = old.cap ? 2 * old.cap : CAP_MIN;
	m->key = xcalloc(m->cap, sizeof *m->key);
	m->value = xcalloc(m->cap, sizeof *m->value);
	for (size_t i = 0; i < old.cap; i++) {
		if (!old.value[i])
			continue;
		size_t at = place(m, old.key[i]);

		memcpy(m->key[at], old.key[i], IDMAP_KEY_LEN);
		m->value[at] = old.value[i];
	}
	idmap_release(&old);
}

uint32_t idmap_get(const struct idmap *m, const unsigned char id[ID_LEN])
{
	return m->cap ? m->value[place(m, id)] : 0;
}

void idmap_set(struct idmap *m, const unsigned char id[ID_LEN], uint32_t value)
{
	BUG_ON(!value);
	if (4 * (m->n + 1) > 3 * m->cap)
		grow(m);
	size_t at = place(m, id);

	if (!m->value[at]) {
		memcpy(m->key[at], id, IDMAP_KEY_LEN);
		m->n++;
	}
	m->value[at] = value;
}
