/* Random bytes from getrandom(2); failure aborts. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

void rng_bytes(void *p, size_t n);
/* n random bytes as 2n hex digits and NUL. */
void rng_hex(char *out, size_t n);

#endif
