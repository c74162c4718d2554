/*
 * Clocks. Wall times are int64_t nanoseconds since the epoch; durations come from CLOCK_BOOTTIME, never from the wall.
 * Tests replace the clock with clock_fake(); nothing else is global in this program but the log.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include "base/err.h"

int64_t clock_wall_ns(void);
int64_t clock_boot_ns(void);
/* Set both clocks for tests (wall, boot); a negative wall returns to the real ones. */
void clock_fake(int64_t wall_ns, int64_t boot_ns);
/* RFC 3339 in UTC: with milliseconds "2026-03-31T10:11:12.345Z", and for file names "20260331T101112Z". */
#define CLOCK_TEXT 32
char *clock_rfc3339(char out[CLOCK_TEXT], int64_t wall_ns);
char *clock_compact(char out[CLOCK_TEXT], int64_t wall_ns);
/* Parse RFC 3339 (any offset, up to nine fraction digits) or a bare date "2027-03-31" (midnight UTC). */
bool clock_parse(const char *s, int64_t *ret_ns);
/* Kernel's word on synchronisation (adjtimex): trusted means STA_UNSYNC clear and max error below one second. */
struct clock_sync {
	bool synced, trusted;
	int64_t offset_us, max_error_us;
	const char *source; /* "kernel-ntp" or "none" */
};
void clock_sync_state(struct clock_sync *ret);
/* Boot id of this machine (36 characters and NUL). */
void clock_boot_id(char out[37]);

#endif
