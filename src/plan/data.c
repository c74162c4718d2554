#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

/* Files as they are, so that a catalogue or template is data to edit and not code. */
#define FILE_IN(symbol, path)                                                                                          \
	__asm__(".section .rodata\n.balign 1\n" #symbol ":\n.incbin \"" path "\"\n" #symbol                            \
	        "_end:\n.byte 0\n.previous\n");                                                                        \
	extern const char symbol[], symbol##_end[];

FILE_IN(holdfast_catalogue_311, "plans/catalogues/etsi-en-319401-3.1.1.json")
FILE_IN(holdfast_catalogue_321, "plans/catalogues/etsi-en-319401-3.2.1.json")
FILE_IN(holdfast_catalogue_cir, "plans/catalogues/cir-2024-2690.json")
FILE_IN(holdfast_catalogue_dora, "plans/catalogues/dora.json")
FILE_IN(holdfast_catalogue_iso, "plans/catalogues/iso-22301.json")
FILE_IN(holdfast_template_ca, "plans/templates/ca.yaml")
FILE_IN(holdfast_template_database, "plans/templates/database.yaml")
FILE_IN(holdfast_template_files, "plans/templates/files.yaml")
FILE_IN(holdfast_template_signature, "plans/templates/signature-service.yaml")
FILE_IN(holdfast_template_tsa, "plans/templates/tsa.yaml")

struct entry {
	const char *name, *p, *end;
};
static const struct entry catalogues[] = {
        {"etsi-en-319401-3.1.1", holdfast_catalogue_311, holdfast_catalogue_311_end},
        {"etsi-en-319401-3.2.1", holdfast_catalogue_321, holdfast_catalogue_321_end},
        {"cir-2024-2690", holdfast_catalogue_cir, holdfast_catalogue_cir_end},
        {"dora", holdfast_catalogue_dora, holdfast_catalogue_dora_end},
        {"iso-22301", holdfast_catalogue_iso, holdfast_catalogue_iso_end},
};
static const struct entry templates[] = {
        {"ca", holdfast_template_ca, holdfast_template_ca_end},
        {"database", holdfast_template_database, holdfast_template_database_end},
        {"files", holdfast_template_files, holdfast_template_files_end},
        {"signature-service", holdfast_template_signature, holdfast_template_signature_end},
        {"tsa", holdfast_template_tsa, holdfast_template_tsa_end},
};

static bool blob_at(const struct entry *v, size_t n, size_t i, struct plan_blob *ret)
{
	if (i < n)
		*ret = (struct plan_blob){v[i].name, v[i].p, (size_t)(v[i].end - v[i].p)};
	return i < n;
}

bool plan_catalogue_at(size_t i, struct plan_blob *ret)
{
	return blob_at(catalogues, ARRAY_LEN(catalogues), i, ret);
}

bool plan_template_at(size_t i, struct plan_blob *ret)
{
	return blob_at(templates, ARRAY_LEN(templates), i, ret);
}

json_t *catalogue_get(const char *id)
{
	struct plan_blob b;
	for (size_t i = 0; plan_catalogue_at(i, &b); i++) {
		json_t *j = NULL;
		if (!str_eq(b.name, id))
			continue;
		struct err e = ERR_INIT;
		if (json_parse(b.p, b.n, b.n, id, &j, &e))
			BUG("catalogue %s: %s", id, e.msg);
		return j;
	}
	return NULL;
}

void catalogue_ids(const char **ids, size_t n)
{
	BUG_ON(n < ARRAY_LEN(catalogues));
	for (size_t i = 0; i < ARRAY_LEN(catalogues); i++)
		ids[i] = catalogues[i].name;
}

static int unknown_template(const char *name, struct err *err)
{
	char list[160] = "";
	size_t used = 0;
	for (size_t i = 0; i < ARRAY_LEN(templates) && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", templates[i].name);
	err_set(err, ERR_USAGE, "there is no template '%.40s'", name);
	return err ? err_hint(err, "templates: %s", list) : -ERR_USAGE;
}

int plan_template_write(const char *template_name, const char *name, struct buf *out, struct err *err)
{
	struct plan_blob b;
	size_t i = 0;
	while (plan_template_at(i, &b) && !str_eq(b.name, template_name))
		i++;
	if (!plan_template_at(i, &b))
		return unknown_template(template_name, err);
	if (!str_is_id(name))
		return err_set(err, ERR_USAGE, "'%.60s' is not an id: lower-case letters, digits and '-'", name);
	const char *line = memmem(b.p, b.n, "\nplan: ", 7);
	BUG_ON(!line);
	size_t before = (size_t)(line + 7 - b.p);
	const char *rest = memchr(line + 7, '\n', b.n - before);
	BUG_ON(!rest);
	int rc = buf_put(out, b.p, before, err);
	if (!rc)
		rc = buf_put(out, name, strlen(name), err);
	return rc ? rc : buf_put(out, rest, b.n - (size_t)(rest - b.p), err);
}
