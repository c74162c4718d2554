#include "s3/s3_http.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/str.h"
#include "base/version.h"
#include "crypto/crypto.h"

#define CONNECT_MS 20000
#define IDLE_MS 60000
#define IDLE_BYTES_PER_S 1024
#define CONNECTION_AGE_S 30L              /* services drop idle connections after 20 s and more */
#define BLOCK (256L << 10)                /* the most that store_pace() takes */
#define CONTINUE_FROM ((uint64_t)1 << 20) /* libcurl's own threshold for asking before it sends */
#define IDLE_HANDLES 16

/* A handle of libcurl's and the connection that it holds open. */
struct link {
	CURL *curl;
	int fd; /* as libcurl opened it last; -1: not yet */
};

struct s3_http {
	struct s3_place place;
	char *access_key, *region, *ca_file;
	struct secret secret_key, token;
	long connect_ms, idle_s;
	const atomic_bool *cancel;
	const struct store *paced;
	pthread_mutex_t mutex;
	struct link *idle[IDLE_HANDLES];
	size_t n_idle;
};

/* One request on its way. */
struct transfer {
	struct s3_http *http;
	struct link *link;
	const struct s3_request *request;
	struct s3_answer *answer;
	size_t piece, piece_off; /* of the body, where the next byte is */
	uint64_t left;
	bool checked; /* the head has been judged before its first byte went to the sink */
	bool to_sink;
	int rc; /* of the sink, or of the head */
	struct err *err;
};

/* --- the handle --- */

static void global_init(void)
{
	if (curl_global_init(CURL_GLOBAL_ALL))
		BUG("libcurl cannot be initialised");
}

static void link_free(struct link *l)
{
	curl_easy_cleanup(l->curl);
	free(l);
}

struct s3_http *s3_http_new(const struct s3_http_config *c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct s3_http *h = xcalloc(1, sizeof *h);
	int64_t idle_ms = c->idle_ms ? c->idle_ms : IDLE_MS;

	(void)pthread_once(&once, global_init);
	h->place = c->place;
	h->access_key = xstrdup(c->access_key ? c->access_key : "");
	h->region = xstrdup(c->region);
	h->ca_file = c->ca_file ? xstrdup(c->ca_file) : NULL;
	if (c->secret_key)
		secret_set(&h->secret_key, c->secret_key, strlen(c->secret_key));
	if (c->session_token && *c->session_token)
		secret_set(&h->token, c->session_token, strlen(c->session_token) + 1);
	h->connect_ms = (long)(c->connect_ms ? c->connect_ms : CONNECT_MS);
	h->idle_s = (long)((idle_ms + 999) / 1000);
	h->cancel = c->cancel;
	h->paced = c->paced;
	pthread_mutex_init(&h->mutex, NULL);
	return h;
}

void s3_http_free(struct s3_http *h)
{
	if (!h)
		return;
	while (h->n_idle)
		link_free(h->idle[--h->n_idle]);
	s3_place_release(&h->place);
	free(h->access_key);
	free(h->region);
	free(h->ca_file);
	secret_release(&h->secret_key);
	secret_release(&h->token);
	pthread_mutex_destroy(&h->mutex);
	free(h);
}

const struct s3_place *s3_http_place(const struct s3_http *h)
{
	return &h->place;
}

/* A handle keeps its connection between requests; threads take whichever is free. */
static struct link *take_link(struct s3_http *h)
{
	pthread_mutex_lock(&h->mutex);
	struct link *l = h->n_idle ? h->idle[--h->n_idle] : NULL;
	pthread_mutex_unlock(&h->mutex);
	if (l)
		return l;
	l = xcalloc(1, sizeof *l);
	l->fd = -1;
	l->curl = curl_easy_init();
	if (!l->curl)
		BUG("no memory for a connection");
	return l;
}

static void give_link(struct s3_http *h, struct link *l)
{
	curl_easy_reset(l->curl);
	pthread_mutex_lock(&h->mutex);
	bool keep = h->n_idle < IDLE_HANDLES;
	if (keep)
		h->idle[h->n_idle++] = l;
	pthread_mutex_unlock(&h->mutex);
	if (!keep)
		link_free(l);
}

void s3_query_add(struct s3_request *r, const char *name, const char *value)
{
	BUG_ON(r->n_query == S3_QUERY_MAX);
	r->query[r->n_query++] = (struct s3_pair){name, value};
}

void s3_header_add(struct s3_request *r, const char *name, const char *value)
{
	BUG_ON(r->n_header == S3_HEADERS_MAX);
	r->header[r->n_header++] = (struct s3_pair){name, value};
}

/* --- the body, read in place --- */

static void seek_body(struct transfer *t)
{
	uint64_t off = t->request->off;

	t->left = t->request->len;
	while (t->request->body && t->piece < t->request->body->n_pieces && off >= t->request->body->piece[t->piece].n)
		off -= t->request->body->piece[t->piece++].n;
	t->piece_off = (size_t)off;
}

/* The next bytes, at most n; 0: none are left. */
static size_t next_bytes(struct transfer *t, size_t n, const unsigned char **ret)
{
	const struct store_src *src = t->request->body;

	while (t->left) {
		const struct store_piece *p = &src->piece[t->piece];
		size_t there = p->n - t->piece_off;

		if (!there) {
			t->piece++;
			t->piece_off = 0;
			continue;
		}
		there = MIN(there, n);
		if (there > t->left)
			there = (size_t)t->left;
		*ret = (const unsigned char *)p->p + t->piece_off;
		t->piece_off += there;
		t->left -= there;
		return there;
	}
	return 0;
}

static void body_digest(const struct s3_request *r, unsigned char out[SHA256_LEN])
{
	struct transfer t = {.request = r};
	const unsigned char *p;
	size_t n;

	if (!r->body) {
		sha256_of("", 0, out);
		return;
	}
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();

	seek_body(&t);
	while ((n = next_bytes(&t, SIZE_MAX, &p)))
		sha256_update(h, p, n);
	sha256_final(h, out);
}

static size_t on_read(char *to, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t room = size * count, done = 0, n;
	const unsigned char *p;

	while (done < room && (n = next_bytes(t, room - done, &p))) {
		memcpy(to + done, p, n);
		done += n;
	}
	if (done && t->http->paced)
		t->rc = store_pace(t->http->paced, done, t->err);
	return t->rc ? CURL_READFUNC_ABORT : done;
}

/* --- the answer --- */

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct link *l = arg;

	(void)purpose;
	l->fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	return l->fd < 0 ? CURL_SOCKET_BAD : l->fd;
}

/*
 * Some services send head and body of an answer apart, and the body only when the head is acknowledged (Ceph, as it
 * comes): that is not to take the 40 ms for which the kernel would hold an acknowledgement back.
 */
static void acknowledge(const struct link *l)
{
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;

	t->rc = s3_answer_line(t->answer, line, size * count, t->err);
	if (size * count <= 2)
		acknowledge(t->link);
	return t->rc ? 0 : size * count;
}

/* Before the first byte goes to the sink: is this the beginning of what was asked for, and will its end be told? */
static int judge_head(struct transfer *t)
{
	const struct s3_answer *a = t->answer;
	const struct s3_request *r = t->request;

	t->checked = true;
	t->to_sink = r->sink && a->status >= 200 && a->status < 300;
	if (!t->to_sink)
		return 0;
	if (!a->has_length && !a->chunked)
		return err_set(t->err, ERR_FORMAT, "the site does not tell the length of its answer");
	if (r->has_first ? a->status != 206 || !a->has_range || a->range_first != r->first : a->status != 200)
		return err_set(t->err, ERR_FORMAT, "the site sends other bytes of the object than were asked for");
	return 0;
}

static size_t on_write(char *p, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t n = size * count;

	if (!t->checked)
		t->rc = judge_head(t);
	if (!t->rc && t->to_sink && t->http->paced)
		t->rc = store_pace(t->http->paced, n, t->err);
	if (!t->rc && t->to_sink)
		t->rc = t->request->sink->write(t->request->sink->arg, p, n, t->err);
	else if (!t->rc && buf_put(&t->answer->body, p, n, NULL))
		t->rc = err_set(t->err, ERR_FORMAT, "the site's answer is too long");
	return t->rc ? 0 : n;
}

static bool cancelled(const struct s3_http *h)
{
	return h->cancel && atomic_load(h->cancel);
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct transfer *t = arg;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return cancelled(t->http);
}

/* --- sending --- */

static struct curl_slist *append(struct curl_slist *list, const char *line)
{
	struct curl_slist *more = curl_slist_append(list, line);

	if (!more)
		BUG("no memory for a header");
	return more;
}

static void wipe_list(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		mem_cleanse(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

/* The headers as they go out: those that are signed, the signature, and libcurl's own of which we want none. */
static struct curl_slist *signed_headers(
        struct s3_http *h, const struct s3_request *r, const char *path, char base64[static 48])
{
	struct s3_pair header[S3_HEADERS_MAX + 5];
	struct s3_signable s = {
	        .method = r->method, .path = path, .query = r->query, .n_query = r->n_query, .header = header};
	const struct s3_credentials k = {h->access_key, &h->secret_key, h->region, "s3"};
	CLEAN(buf_release) struct buf line = BUF_INIT(64u << 10);
	unsigned char digest[SHA256_LEN];
	struct curl_slist *list = NULL;

	body_digest(r, digest);
	digest[0] ^= r->bad_digest;
	hex_encode(s.payload, digest, sizeof digest);
	base64_encode(base64, digest, sizeof digest);
	s3_stamp(clock_wall_ns(), s.stamp);
	header[s.n_header++] = (struct s3_pair){"host", h->place.host};
	header[s.n_header++] = (struct s3_pair){"x-amz-content-sha256", s.payload};
	header[s.n_header++] = (struct s3_pair){"x-amz-date", s.stamp};
	if (h->token.len)
		header[s.n_header++] = (struct s3_pair){"x-amz-security-token", (const char *)h->token.p};
	if (r->checksum)
		header[s.n_header++] = (struct s3_pair){"x-amz-checksum-sha256", base64};
	for (size_t i = 0; i < r->n_header; i++)
		header[s.n_header++] = r->header[i];
	for (size_t i = 0; i < s.n_header; i++) {
		buf_clear(&line);
		buf_addf(&line, "%s: %s", header[i].name, header[i].value);
		list = append(list, buf_str(&line));
	}
	mem_cleanse(line.p, line.cap);
	buf_clear(&line);
	buf_addf(&line, "authorization: ");
	s3_sign(&k, &s, &line);
	list = append(list, buf_str(&line));
	/* Asking first saves sending a pack that is not wanted, where the way is long. */
	if (h->place.loopback || r->len < CONTINUE_FROM)
		list = append(list, "expect:");
	return append(list, "content-type:");
}

static void set_method(CURL *c, const struct s3_request *r, struct transfer *t)
{
	bool sends = !strcmp(r->method, "PUT") || !strcmp(r->method, "POST");

	if (!strcmp(r->method, "HEAD"))
		(void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else if (sends)
		(void)curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
	if (strcmp(r->method, "HEAD"))
		(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
	if (sends) {
		/* No seek function on purpose: a body that went out on a connection that broke is not sent again
		 * unnoticed. */
		(void)curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
		(void)curl_easy_setopt(c, CURLOPT_READDATA, t);
		(void)curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->len);
		(void)curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, BLOCK);
	}
	/* Only on a connection that was used before does libcurl repeat a request, and only one whose body is still
	 * whole. */
	if (r->once && !r->len)
		(void)curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
}

static void set_options(CURL *c, struct s3_http *h, struct transfer *t, char error[CURL_ERROR_SIZE])
{
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, h->place.scheme);
	(void)curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (h->ca_file) {
		(void)curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
		(void)curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, h->connect_ms);
	(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)IDLE_BYTES_PER_S);
	(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, h->idle_s);
	(void)curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, CONNECTION_AGE_S);
	(void)curl_easy_setopt(c, CURLOPT_MAXCONNECTS, 1L);
	(void)curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BLOCK);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t->link);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_write);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
}

static char *url_of(const struct s3_http *h, const struct s3_request *r, const char *path)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64u << 10);

	buf_addf(&b, "%s://%s", h->place.scheme, h->place.host);
	s3_encode(&b, path, true);
	if (r->n_query)
		buf_addf(&b, "?");
	s3_query(&b, r->query, r->n_query);
	return xstrdup(buf_str(&b));
}

static int transfer_failed(CURLcode code, const struct s3_http *h, const char *error, struct err *err)
{
	const char *why = error[0] ? error : curl_easy_strerror(code);

	switch (code) {
	case CURLE_ABORTED_BY_CALLBACK:
		return err_set(err, ERR_CANCELLED, "the request was cancelled");
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		(void)err_set(err, ERR_DENIED, "%s://%s cannot be trusted: %s", h->place.scheme, h->place.host, why);
		if (err)
			(void)err_hint(err, "is ca_file the authority that signed the endpoint's certificate?");
		return -ERR_DENIED;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_BAD_CONTENT_ENCODING:
		return err_set(err, ERR_FORMAT, "%s://%s does not answer as HTTP says: %s", h->place.scheme,
		        h->place.host, why);
	default:
		return err_set(err, ERR_UNREACHABLE, "%s://%s: %s", h->place.scheme, h->place.host, why);
	}
}

int s3_exchange(struct s3_http *h, const struct s3_request *r, struct s3_answer *ret, struct err *err)
{
	struct transfer t = {.http = h, .request = r, .answer = ret, .err = err};
	CLEAN(free_ptr) char *path = s3_place_path(&h->place, r->key);
	CLEAN(free_ptr) char *url = url_of(h, r, path);
	char error[CURL_ERROR_SIZE] = "", digest[48];
	struct link *l = take_link(h);
	CURL *c = l->curl;
	struct curl_slist *headers = signed_headers(h, r, path, digest);

	t.link = l;
	seek_body(&t);
	set_options(c, h, &t, error);
	set_method(c, r, &t);
	(void)curl_easy_setopt(c, CURLOPT_URL, url);
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	CURLcode code = curl_easy_perform(c);

	wipe_list(headers);
	give_link(h, l);
	if (t.rc)
		return t.rc;
	/* Who refuses a body may hang up while it is still being sent: the refusal is what counts. */
	bool refused = ret->status >= 300 && (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR);

	if (code != CURLE_OK && !refused)
		return transfer_failed(code, h, error, err);
	if (!t.checked && (t.rc = judge_head(&t)))
		return t.rc;
	if (t.left && ret->status < 300)
		return err_set(err, ERR_UNREACHABLE, "the site says that it has what was not sent yet");
	str_copy(ret->sent_digest, sizeof ret->sent_digest, digest);
	if (ret->status >= 300 && ret->body.len)
		(void)s3_xml_error(ret->body.p, ret->body.len, &ret->error);
	return 0;
}
