/* What the example maps take from a header that the package does not install. */
#pragma once
#include <stdint.h>
#include <unistd.h>

#define CREATE_MODE_RW 0600

static inline uint32_t find_last_set_64(uint64_t word)
{
	return 63 - (uint32_t)__builtin_clzll(word);
}

static inline int file_exists(const char *path)
{
	return access(path, F_OK);
}
