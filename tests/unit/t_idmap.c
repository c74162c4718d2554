#include "verify/idmap.h"

#include <check.h>
#include "repo_random.h"
#include "suite.h"

START_TEST(a_map_gives_back_what_was_set)
{
	enum { N = 5000 };
	static unsigned char id[N][ID_LEN];
	struct idmap m = {0};
	uint64_t state = 3;

	fill_random(id[0], sizeof id, &state);
	ck_assert_uint_eq(idmap_get(&m, id[0]), 0);
	for (uint32_t i = 0; i < N; i++)
		idmap_set(&m, id[i], i + 1);
	for (uint32_t i = 0; i < N; i++)
		ck_assert_uint_eq(idmap_get(&m, id[i]), i + 1);
	idmap_set(&m, id[9], 77);
	ck_assert_uint_eq(idmap_get(&m, id[9]), 77);
	ck_assert_uint_eq(m.n, N);
	id[8][0] ^= 1;
	ck_assert_uint_eq(idmap_get(&m, id[8]), 0);
	idmap_release(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("idmap");
	TCase *map = tcase_create("map");

	tcase_add_test(map, a_map_gives_back_what_was_set);
	suite_add_tcase(s, map);

	return suite_main(s);
}
