#include "job/job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

/* config holds what people write and keep, var what runs leave behind. */
static void fill(struct root *r, const char *config, const char *var)
{
	*r = (struct root){
	        .config = xstrdup(config),
	        .plans = fs_join(config, "plans"),
	        .keys = fs_join(config, "keys"),
	        .state = fs_join(var, "state"),
	        .results = fs_join(var, "results"),
	        .metrics = fs_join(var, "metrics"),
	        .log = fs_join(var, "log"),
	        .work = fs_join(var, "work"),
	        .restored = fs_join(var, "restored"),
	};
}

/* The XDG directory or its default below home; a relative one is to be ignored, as its specification says. */
static char *xdg_dir(const char *xdg, const char *home, const char *dflt)
{
	if (xdg && xdg[0] == '/')
		return fs_join(xdg, "holdfast");
	CLEAN(free_ptr) char *base = fs_join(home ? home : "/", dflt);
	return fs_join(base, "holdfast");
}

void root_init(struct root *r, const char *dir, const char *home, const char *xdg_config, const char *xdg_state)
{
	bool system_wide = dir ? strcmp(dir, "/") == 0 : geteuid() == 0;

	if (system_wide) {
		fill(r, "/etc/holdfast", "/var/lib/holdfast");
		return;
	}
	if (dir) {
		fill(r, dir, dir);
		return;
	}
	CLEAN(free_ptr) char *config = xdg_dir(xdg_config, home, ".config");
	CLEAN(free_ptr) char *var = xdg_dir(xdg_state, home, ".local/state");
	fill(r, config, var);
}

void root_release(struct root *r)
{
	free(r->config);
	free(r->plans);
	free(r->keys);
	free(r->state);
	free(r->results);
	free(r->metrics);
	free(r->log);
	free(r->work);
	free(r->restored);
	*r = (struct root){0};
}
