#include "drill/drill_stores.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "place/place.h"

#define RELAYS_MAX 64

static bool is_directory(const struct plan_site *ps)
{
	return str_starts(ps->url, "file://");
}

/* --- outside --- */

bool drill_relay_wanted(const struct job *j)
{
	bool wanted = j->open_site != NULL;
	for (size_t i = 0; i < j->plan->n_sites; i++)
		wanted = wanted || !is_directory(&j->plan->sites[i]);
	return wanted;
}

int drill_relay_open(struct drill_relay *r, int *ret_fd, struct err *err)
{
	*r = (struct drill_relay)DRILL_RELAY_INIT;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->fd))
		return err_sys(err, ERR_IO, "make a socket pair");
	*ret_fd = r->fd[1];
	return 0;
}

void drill_relay_serve(struct drill_relay *r, const struct job *j, const struct sites *sites)
{
	const struct wire_opts o = {.name = "the recovery process", .role = "stores", .cancel = NULL};
	struct err why = ERR_INIT;
	if (r->fd[0] < 0)
		return;
	close_fd(&r->fd[1]); /* so that its end is seen */
	if (wire_new(r->fd[0], r->fd[0], &o, &r->w, &why)) {
		log_msg(LOG_DEBUG, "%s", why.msg);
		return;
	}
	r->rights = (struct wire_access){.role = WIRE_ROLE_GET};
	for (size_t i = 0; i < sites->n; i++) {
		const struct plan_site *ps = plan_site(j->plan, sites->site[i].name);
		size_t number = ps ? (size_t)(ps - j->plan->sites) : RELAYS_MAX;
		if (sites->site[i].store && number < RELAYS_MAX)
			wire_serve_store(r->w, (unsigned)number,
			        &(struct wire_served){.store = sites->site[i].store, .allow = wire_access_allow, .arg = &r->rights});
	}
	wire_start(r->w);
}

void drill_relay_close(struct drill_relay *r)
{
	wire_free(r->w);
	close_fd(&r->fd[0]);
	close_fd(&r->fd[1]);
	r->w = NULL;
}

/* --- inside --- */

int drill_open_relayed(struct wire *w, size_t number, const struct plan_site *ps, struct store **ret, struct err *err)
{
	if (number >= RELAYS_MAX)
		return err_set(err, ERR_UNREACHABLE, "site %s: only the first %d sites are relayed", ps->name, RELAYS_MAX);
	int rc = wire_store_open(w, (unsigned)number, ps->name, false, ret, err);
	if (rc == -ERR_MISSING)
		return err_set(err, ERR_UNREACHABLE, "site %s: the controller cannot reach it", ps->name);
	return rc;
}

static int open_site(void *arg, size_t number, const struct plan_site *ps, struct store **ret, struct err *err)
{
	const struct drill_way *way = arg;
	if (!way->all && is_directory(ps))
		return place_open(ps->url, &(struct store_config){.name = ps->name}, ret, err);
	if (!way->w)
		return err_set(err, ERR_UNREACHABLE, "site %s: there is no way to it from in here", ps->name);
	return drill_open_relayed(way->w, number, ps, ret, err);
}

void drill_way_open(struct drill_way *way, const struct isolated_self *self, struct job *j)
{
	const struct wire_opts o = {.name = "who began the rehearsal", .role = "recovery process"};
	struct err why = ERR_INIT;
	*way = (struct drill_way){.all = j->open_site != NULL};
	if (self->stores < 0)
		return;
	if (wire_new(self->stores, self->stores, &o, &way->w, &why))
		log_msg(LOG_ERROR, "%s", why.msg);
	j->open_site = open_site;
	j->open_arg = way;
}

void drill_way_close(struct drill_way *way)
{
	wire_free(way->w);
	way->w = NULL;
}
