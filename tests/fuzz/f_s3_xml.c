/* Input: one byte that picks a document, then its text. What is read keeps the promises of store/s3_xml.h. */
#include "s3/s3_xml.h"

#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_page(const struct s3_page *page, bool versions)
{
	for (size_t i = 0; i < page->n; i++) {
		BUG_ON(!page->object[i].key || !*page->object[i].key);
		BUG_ON(versions && !page->object[i].version);
	}
}

static void check_text(const char *text, size_t cap)
{
	BUG_ON(strnlen(text, cap) == cap);
	for (; *text; text++)
		BUG_ON(*text < ' ' || *text > '~');
}

static void check_error(const struct s3_error *e)
{
	check_text(e->code, sizeof e->code);
	check_text(e->message, sizeof e->message);
	check_text(e->request_id, sizeof e->request_id);
	check_text(e->region, sizeof e->region);
}

static void lists(const uint8_t *p, size_t n, bool versions)
{
	struct s3_page page;
	struct err err;

	if (versions ? s3_xml_versions(p, n, &page, &err) : s3_xml_list(p, n, &page, &err))
		BUG_ON(page.object || page.n);
	check_page(&page, versions);
	s3_page_release(&page);
}

static void small(const uint8_t *p, size_t n, int which)
{
	struct s3_error e;
	struct store_lock lock;
	struct err err;
	bool is;
	char *id = NULL;

	switch (which) {
	case 0:
		if (s3_xml_error(p, n, &e))
			check_error(&e);
		break;
	case 1:
		if (s3_xml_completed(p, n, &e, &err) == -ERR_FAILED)
			check_error(&e);
		break;
	case 2:
		if (!s3_xml_retention(p, n, &lock, &err))
			BUG_ON((lock.mode == STORE_UNLOCKED) != (lock.until_ns == 0));
		break;
	case 3:
		BUG_ON(!s3_xml_upload(p, n, &id, &err) != (id != NULL));
		free(id);
		break;
	case 4:
		(void)!s3_xml_versioning(p, n, &is, &err);
		break;
	default:
		(void)!s3_xml_object_lock(p, n, &is, &err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	int which = data[0] % 8;

	if (which < 2)
		lists(data + 1, size - 1, which == 1);
	else
		small(data + 1, size - 1, which - 2);
	return 0;
}
