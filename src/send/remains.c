/*
 * remains.c
 *		What is left of secrets in memory that nobody owns any more.
 *
 * capi wipes its own copies of a token, and libcurl's through its allocator.
 * Two kinds of copies are beyond both (P8): libcurl sends from a buffer on the
 * stack, where signals put registers too, and what is below it, nghttp2 above
 * all, gives memory back to malloc as it is.  A session that has sent lives on,
 * so the free part of its stack and heap is overwritten then.  Until then what is freed may be taken again, by the
 * server too, and stay in a block's unused part: so it is cleared earlier where
 * malloc can, which is for blocks above LISTED_MAX; the server takes no others.
 *
 * Does nothing about blocks that are in use, and on a libc other than glibc
 * nothing about the heap.
 */
#include "postgres.h"

#include <malloc.h>
#include <unistd.h>

#include "send/remains.h"

/* Deeper than libcurl, its TLS library or a signal's frame go. */
#define STACK_BYTES		(64 * 1024)

/* More than all vector registers hold. */
#define REGISTERS_BYTES	4096

/* Blocks that glibc keeps in lists by size. */
#define LISTED_MAX		1032
#define LISTED_MIN		24

/* A block of the heap while it is held, to be freed. */
typedef struct Block
{
	struct Block *next;
} Block;

static void wipe_registers(void);
static void wipe_stack(void);
static void wipe_heap(void);
#ifdef __GLIBC__
static void clear(void *block);
static void take_free(Block **held, size_t size, const char *top);
#endif

void
capi_remains_watch(bool on)
{
#ifdef __GLIBC__
	/* an aid to debugging, of which its effect is wanted */
	(void) mallopt(M_PERTURB, on ? 1 : 0);
#endif
}

void
capi_remains_wipe(void)
{
	wipe_heap();
	wipe_registers();
	wipe_stack();
}

/*
 * What memcpy copied last is in vector registers, and goes to the stack with the
 * next signal.  The same function is had to copy zeros, by each of its ways.
 */
static pg_noinline void
wipe_registers(void)
{
	char		zeros[2 * REGISTERS_BYTES];

	explicit_bzero(zeros, sizeof(zeros));
	for (size_t len = 8; len <= REGISTERS_BYTES; len += 8)
		memmove(zeros, zeros + REGISTERS_BYTES, len);
	explicit_bzero(zeros, sizeof(zeros));
}

/* Not inlined: its frame must lie where those of the library were. */
static pg_noinline void
wipe_stack(void)
{
	char		below[STACK_BYTES];

	explicit_bzero(below, sizeof(below));
}

/*
 * Takes every free block, clears it and gives all of them back.  From large to
 * small: malloc keeps small blocks in lists by size (every 16 bytes, up to
 * LISTED_MAX) that a request of another size does not look into.
 */
static void
wipe_heap(void)
{
#ifdef __GLIBC__
	const char *top = sbrk(0);
	Block	   *held = NULL;

	take_free(&held, 64 * 1024, top);
	take_free(&held, 4 * 1024, top);
	for (size_t size = LISTED_MAX; size >= LISTED_MIN; size -= 16)
		take_free(&held, size, top);
	while (held != NULL)
	{
		Block	   *block = held;

		held = block->next;
		free(block);
	}
#endif
}

#ifdef __GLIBC__
/* Not inlined: the compiler would hold it to the size that was asked for. */
static pg_noinline void
clear(void *block)
{
	explicit_bzero(block, malloc_usable_size(block));
}

/* Blocks of that size, until malloc has none below top and grows the heap. */
static void
take_free(Block **held, size_t size, const char *top)
{
	Block	   *block;

	do
	{
		block = malloc(size);
		if (block == NULL)
			break;
		clear(block);
		block->next = *held;
		*held = block;
	} while ((const char *) block < top);
}
#endif
