#include "s3/s3_xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define DEPTH_MAX 8
#define NAME_MAX_BYTES 64
#define TEXT_MAX ((size_t)16 << 10)
#define ELEMENTS_MAX 100000

/* --- the reader: calls leaf(arg, "Root/Child/Leaf", text) at the end of each element --- */

struct reader {
	XML_Parser parser;
	const char *root; /* what the document must be */
	int (*leaf)(void *arg, const char *path, const char *text, struct err *err);
	void *arg;
	char path[DEPTH_MAX * (NAME_MAX_BYTES + 1) + 1];
	size_t path_len, depth, elements;
	struct buf text;
	int rc;
	struct err *err;
};

static void stop(struct reader *r, int rc)
{
	if (!r->rc)
		r->rc = rc;
	(void)XML_StopParser(r->parser, XML_FALSE);
}

static void refuse(struct reader *r, const char *why)
{
	if (!r->rc)
		stop(r, err_set(r->err, ERR_FORMAT, "the site's answer is not what was asked for: %s", why));
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct reader *r = arg;
	size_t n = strlen(name);

	(void)attributes;
	if (r->rc)
		return;
	if (r->depth >= DEPTH_MAX || n > NAME_MAX_BYTES || strchr(name, '/') || ++r->elements > ELEMENTS_MAX)
		return refuse(r, "it is nested too deeply or too long");
	if (!r->depth && strcmp(name, r->root))
		return refuse(r, "it is another document");
	if (r->depth++)
		r->path[r->path_len++] = '/';
	memcpy(r->path + r->path_len, name, n + 1);
	r->path_len += n;
	buf_clear(&r->text);
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct reader *r = arg;

	if (r->rc)
		return;
	int rc = r->leaf(r->arg, r->path, buf_str(&r->text), r->err);

	if (rc)
		return stop(r, rc);
	r->depth--;
	r->path_len -= strlen(name) + (r->depth ? 1 : 0);
	r->path[r->path_len] = '\0';
	buf_clear(&r->text);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int n)
{
	struct reader *r = arg;

	if (!r->rc && buf_put(&r->text, text, (size_t)n, NULL))
		refuse(r, "a text in it is too long");
}

static void XMLCALL on_doctype(
        void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	refuse(arg, "it has a document type declaration");
}

static int read_xml(const void *p, size_t n, const char *root,
        int (*leaf)(void *arg, const char *path, const char *text, struct err *err), void *arg, struct err *err)
{
	struct reader r = {.root = root, .leaf = leaf, .arg = arg, .text = BUF_INIT(TEXT_MAX), .err = err};

	if (n > INT32_MAX)
		return err_set(err, ERR_FORMAT, "the site's answer is too long");
	r.parser = XML_ParserCreate("UTF-8");
	if (!r.parser)
		return err_set(err, ERR_NOMEM, "no memory for an XML parser");
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetCharacterDataHandler(r.parser, on_text);
	XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
	enum XML_Status status = XML_Parse(r.parser, p ? p : "", (int)n, XML_TRUE);

	if (!r.rc && status != XML_STATUS_OK)
		refuse(&r, XML_ErrorString(XML_GetErrorCode(r.parser)));
	XML_ParserFree(r.parser);
	buf_release(&r.text);
	return r.rc;
}

/* --- values --- */

static void printable(char *out, size_t cap, const char *text)
{
	size_t n = 0;

	for (; *text && n + 1 < cap; text++)
		if (*text >= ' ' && *text <= '~')
			out[n++] = *text;
	out[n] = '\0';
}

static bool number(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*text)
		return false;
	for (; *text; text++)
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10, &v) ||
		        __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return false;
	*ret = v;
	return true;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

/* The text behind encoding-type=url, newly allocated; NULL for a broken or a zero escape. */
static char *url_decoded(const char *text)
{
	CLEAN(free_ptr) char *out = xmalloc(strlen(text) + 1);
	char *to = out;

	for (; *text; text++) {
		if (*text == '+')
			*to++ = ' ';
		else if (*text != '%')
			*to++ = *text;
		else {
			int hi = hex_value(text[1]), lo = hi < 0 ? -1 : hex_value(text[2]);

			if (lo < 0 || hi + lo == 0)
				return NULL;
			*to++ = (char)(hi << 4 | lo);
			text += 2;
		}
	}
	*to = '\0';
	return TAKE(out);
}

static bool truth(const char *text)
{
	return !strcmp(text, "true");
}

static int bad_value(const char *path, const char *text, struct err *err)
{
	char shown[64];

	printable(shown, sizeof shown, text);
	return err_set(err, ERR_FORMAT, "the site's answer has '%s' for %s", shown, path);
}

static void replace(char **where, const char *text)
{
	free(*where);
	*where = xstrdup(text);
}

/* --- errors --- */

static int error_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	struct s3_error *e = arg;

	(void)err;
	if (!strcmp(path, "Error/Code"))
		printable(e->code, sizeof e->code, text);
	else if (!strcmp(path, "Error/Message"))
		printable(e->message, sizeof e->message, text);
	else if (!strcmp(path, "Error/RequestId"))
		printable(e->request_id, sizeof e->request_id, text);
	else if (!strcmp(path, "Error/Region"))
		printable(e->region, sizeof e->region, text);
	return 0;
}

bool s3_xml_error(const void *p, size_t n, struct s3_error *ret)
{
	*ret = (struct s3_error){0};
	if (!read_xml(p, n, "Error", error_leaf, ret, NULL))
		return true;
	*ret = (struct s3_error){0};
	return false;
}

/* --- lists --- */

static void object_release(struct s3_object *o)
{
	free(o->key);
	free(o->version);
	*o = (struct s3_object){0};
}

void s3_page_release(struct s3_page *page)
{
	for (size_t i = 0; i < page->n; i++)
		object_release(&page->object[i]);
	free(page->object);
	free(page->token);
	free(page->next_key);
	free(page->next_version);
	*page = (struct s3_page){0};
}

struct page_reader {
	struct s3_page *page;
	struct s3_object now;
};

static int object_field(struct s3_object *o, const char *name, const char *path, const char *text, struct err *err)
{
	if (!strcmp(name, "Key")) {
		CLEAN(free_ptr) char *key = url_decoded(text);

		if (!key)
			return bad_value(path, text, err);
		replace(&o->key, key);
	} else if (!strcmp(name, "VersionId")) {
		replace(&o->version, text);
	} else if (!strcmp(name, "Size")) {
		if (!number(text, &o->size))
			return bad_value(path, text, err);
	} else if (!strcmp(name, "LastModified")) {
		if (!clock_parse(text, &o->mtime_ns))
			return bad_value(path, text, err);
	} else if (!strcmp(name, "IsLatest")) {
		o->latest = truth(text);
	}
	return 0;
}

/* An element that holds an object is at its end: keep what was read of it. */
static int object_done(struct page_reader *r, bool versions, bool marker, struct err *err)
{
	struct s3_page *p = r->page;

	if (!r->now.key || !*r->now.key || (versions && !r->now.version))
		return err_set(err, ERR_FORMAT, "the site's answer lists an object without its name");
	r->now.marker = marker;
	p->object = xgrow(p->object, p->n, &p->cap, sizeof *p->object);
	p->object[p->n++] = r->now;
	r->now = (struct s3_object){0};
	return 0;
}

static int list_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	struct page_reader *r = arg;
	const char *rest = strchr(path, '/');

	if (!rest)
		return 0;
	rest++;
	if (str_starts(rest, "Contents/"))
		return object_field(&r->now, rest + strlen("Contents/"), path, text, err);
	if (!strcmp(rest, "Contents"))
		return object_done(r, false, false, err);
	if (!strcmp(rest, "IsTruncated"))
		r->page->truncated = truth(text);
	else if (!strcmp(rest, "NextContinuationToken"))
		replace(&r->page->token, text);
	return 0;
}

static int versions_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	struct page_reader *r = arg;
	const char *rest = strchr(path, '/');

	if (!rest)
		return 0;
	rest++;
	if (str_starts(rest, "Version/"))
		return object_field(&r->now, rest + strlen("Version/"), path, text, err);
	if (str_starts(rest, "DeleteMarker/"))
		return object_field(&r->now, rest + strlen("DeleteMarker/"), path, text, err);
	if (!strcmp(rest, "Version"))
		return object_done(r, true, false, err);
	if (!strcmp(rest, "DeleteMarker"))
		return object_done(r, true, true, err);
	if (!strcmp(rest, "IsTruncated"))
		r->page->truncated = truth(text);
	else if (!strcmp(rest, "NextVersionIdMarker"))
		replace(&r->page->next_version, text);
	else if (!strcmp(rest, "NextKeyMarker")) {
		CLEAN(free_ptr) char *key = url_decoded(text);

		if (!key)
			return bad_value(path, text, err);
		replace(&r->page->next_key, key);
	}
	return 0;
}

static int read_page(const void *p, size_t n, const char *root,
        int (*leaf)(void *arg, const char *path, const char *text, struct err *err), struct s3_page *ret,
        struct err *err)
{
	struct page_reader r = {.page = ret};

	*ret = (struct s3_page){0};
	int rc = read_xml(p, n, root, leaf, &r, err);

	object_release(&r.now);
	if (rc)
		s3_page_release(ret);
	return rc;
}

int s3_xml_list(const void *p, size_t n, struct s3_page *ret, struct err *err)
{
	return read_page(p, n, "ListBucketResult", list_leaf, ret, err);
}

int s3_xml_versions(const void *p, size_t n, struct s3_page *ret, struct err *err)
{
	return read_page(p, n, "ListVersionsResult", versions_leaf, ret, err);
}

/* --- the small ones --- */

static int upload_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	(void)err;
	if (!strcmp(path, "InitiateMultipartUploadResult/UploadId"))
		replace(arg, text);
	return 0;
}

int s3_xml_upload(const void *p, size_t n, char **ret, struct err *err)
{
	CLEAN(free_ptr) char *id = NULL;

	*ret = NULL;
	int rc = read_xml(p, n, "InitiateMultipartUploadResult", upload_leaf, &id, err);

	if (rc)
		return rc;
	if (!id || !*id)
		return err_set(err, ERR_FORMAT, "the site's answer has no upload id");
	*ret = TAKE(id);
	return 0;
}

static int nothing_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	(void)arg;
	(void)path;
	(void)text;
	(void)err;
	return 0;
}

int s3_xml_completed(const void *p, size_t n, struct s3_error *ret, struct err *err)
{
	if (s3_xml_error(p, n, ret))
		return err_set(err, ERR_FAILED, "the upload was not completed");
	return read_xml(p, n, "CompleteMultipartUploadResult", nothing_leaf, NULL, err);
}

static int retention_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	struct store_lock *l = arg;

	if (!strcmp(path, "Retention/Mode")) {
		l->mode = !strcmp(text, "COMPLIANCE")   ? STORE_LOCK_COMPLIANCE
		          : !strcmp(text, "GOVERNANCE") ? STORE_LOCK_GOVERNANCE
		                                        : STORE_UNLOCKED;
		return l->mode == STORE_UNLOCKED ? bad_value(path, text, err) : 0;
	}
	if (!strcmp(path, "Retention/RetainUntilDate") && !clock_parse(text, &l->until_ns))
		return bad_value(path, text, err);
	return 0;
}

int s3_xml_retention(const void *p, size_t n, struct store_lock *ret, struct err *err)
{
	*ret = (struct store_lock){0};
	int rc = read_xml(p, n, "Retention", retention_leaf, ret, err);

	if (!rc && (ret->mode == STORE_UNLOCKED) != (ret->until_ns == 0))
		rc = err_set(err, ERR_FORMAT, "the site's answer has half a lock");
	return rc;
}

static int versioning_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	(void)err;
	if (!strcmp(path, "VersioningConfiguration/Status"))
		*(bool *)arg = !strcmp(text, "Enabled");
	return 0;
}

int s3_xml_versioning(const void *p, size_t n, bool *ret, struct err *err)
{
	*ret = false;
	return read_xml(p, n, "VersioningConfiguration", versioning_leaf, ret, err);
}

static int object_lock_leaf(void *arg, const char *path, const char *text, struct err *err)
{
	(void)err;
	if (!strcmp(path, "ObjectLockConfiguration/ObjectLockEnabled"))
		*(bool *)arg = !strcmp(text, "Enabled");
	return 0;
}

int s3_xml_object_lock(const void *p, size_t n, bool *ret, struct err *err)
{
	*ret = false;
	return read_xml(p, n, "ObjectLockConfiguration", object_lock_leaf, ret, err);
}
