/*
 * Two of libpmemobj's example maps under the work of `libd3os-object-bench`:
 * `pmdk-map btree|hashmap_tx FILE RECORDS`. The maps' sources are those that the library's package
 * installs. Prints the same lines; records and the order of lookups are those of `src/records.rs`.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <libpmemobj.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hashmap.h"
#include "map.h"
#include "map_btree.h"
#include "map_hashmap_tx.h"

enum { VALUE_BYTES = 56, BATCH = 1000, BYTES_PER_RECORD = 1024 };

POBJ_LAYOUT_BEGIN(bench);
POBJ_LAYOUT_ROOT(bench, struct root);
POBJ_LAYOUT_END(bench);

struct root {
	TOID(struct map) map;
};

struct store {
	const char *name;
	PMEMobjpool *pool;
	struct map_ctx *maps;
	TOID(struct map) map;
};

static uint64_t mix(uint64_t number)
{
	number += 0x9e3779b97f4a7c15;
	number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
	number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
	return number ^ (number >> 31);
}

static uint64_t key(uint64_t record)
{
	return mix(record) | 1;
}

static uint64_t asked(uint64_t step, uint64_t records)
{
	return mix(step ^ 0x00abcdef1234567f) % records;
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void print(const struct store *store, const char *work, uint64_t since, uint64_t operations)
{
	printf("pmdk %s\t%s\t%.2f\n", store->name, work, (double)(now() - since) / (double)operations);
}

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, pmemobj_errormsg());
	exit(1);
}

/* Inside a transaction. */
static void insert(struct store *store, uint64_t record)
{
	PMEMoid value = pmemobj_tx_alloc(VALUE_BYTES, 0);
	uint64_t first = key(record);
	memset(pmemobj_direct(value), (int)(record & 0xff), VALUE_BYTES);
	memcpy(pmemobj_direct(value), &first, sizeof first);
	if (map_insert(store->maps, store->map, first, value))
		pmemobj_tx_abort(-1);
}

static void insert_all(struct store *store, const char *work, uint64_t records, uint64_t batch)
{
	uint64_t start = now();
	for (uint64_t first = 0; first < records; first += batch) {
		uint64_t end = first + batch < records ? first + batch : records;
		TX_BEGIN(store->pool) {
			for (uint64_t record = first; record < end; record++)
				insert(store, record);
		} TX_ONABORT {
			fail("insert");
		} TX_END
	}
	print(store, work, start, records);
}

static uint64_t *find(struct store *store, uint64_t step, uint64_t records)
{
	PMEMoid value = map_get(store->maps, store->map, key(asked(step, records)));
	if (OID_IS_NULL(value))
		fail("a record is missing");
	return pmemobj_direct(value);
}

static void find_all(struct store *store, uint64_t records)
{
	volatile uint64_t sum = 0;
	uint64_t start = now();
	for (uint64_t step = 0; step < records; step++)
		sum ^= *find(store, step, records);
	print(store, "lookup", start, records);
}

static void update_all(struct store *store, uint64_t records)
{
	uint64_t start = now();
	for (uint64_t step = 0; step < records; step++) {
		uint64_t *value = find(store, step, records);
		TX_BEGIN(store->pool) {
			pmemobj_tx_add_range_direct(value + 1, sizeof *value);
			value[1] = step;
		} TX_ONABORT {
			fail("update");
		} TX_END
	}
	print(store, "find and update", start, records);
}

static struct store create(const char *name, const char *path, uint64_t records)
{
	const struct map_ops *kind = strcmp(name, "btree") == 0 ? MAP_BTREE : MAP_HASHMAP_TX;
	struct hashmap_args seed = {.seed = 12345};
	struct store store = {.name = name};
	size_t bytes = PMEMOBJ_MIN_POOL + records * BYTES_PER_RECORD;
	int prefault = 1;
	pmemobj_ctl_set(NULL, "prefault.at_create", &prefault);
	unlink(path);
	store.pool = pmemobj_create(path, POBJ_LAYOUT_NAME(bench), bytes, 0600);
	if (!store.pool)
		fail(path);
	store.maps = map_ctx_init(kind, store.pool);
	TOID(struct root) root = POBJ_ROOT(store.pool, struct root);
	TX_BEGIN(store.pool) {
		TX_ADD(root);
		map_create(store.maps, &D_RW(root)->map, &seed);
	} TX_ONABORT {
		fail("create");
	} TX_END
	store.map = D_RO(root)->map;
	if (kind == MAP_HASHMAP_TX)
		map_init(store.maps, store.map);
	return store;
}

static void destroy(struct store store, const char *path)
{
	map_ctx_free(store.maps);
	pmemobj_close(store.pool);
	unlink(path);
}

int main(int count, char **arguments)
{
	if (count != 4) {
		fprintf(stderr, "usage: pmdk-map btree|hashmap_tx FILE RECORDS\n");
		return 1;
	}
	const char *name = arguments[1], *path = arguments[2];
	uint64_t records = strtoull(arguments[3], NULL, 10);
	struct store store = create(name, path, records);
	insert_all(&store, "insert", records, 1);
	find_all(&store, records);
	update_all(&store, records);
	destroy(store, path);
	store = create(name, path, records);
	insert_all(&store, "insert in thousands", records, BATCH);
	destroy(store, path);
	return 0;
}
