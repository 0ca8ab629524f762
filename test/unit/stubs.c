/*
 * stubs.c
 *		What the pure layer uses of a server and the static libraries do not
 *		have: memory contexts, which here are malloc, the encoding, and errors,
 *		which end the program.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* Tests may change it. */
int			test_encoding = PG_UTF8;

MemoryContext CurrentMemoryContext = NULL;

int
GetDatabaseEncoding(void)
{
	return test_encoding;
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name,
							  Size minContextSize, Size initBlockSize,
							  Size maxBlockSize)
{
	return NULL;
}

void
MemoryContextDelete(MemoryContext context)
{
}

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errmsg(const char *fmt,...)
{
	printf("Bail out! error: %s\n", fmt);
	return 0;
}

int
errdetail(const char *fmt,...)
{
	return 0;
}

int
errhint(const char *fmt,...)
{
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	abort();
}

void
ExceptionalCondition(const char *conditionName,
#if PG_VERSION_NUM < 160000
					 const char *errorType,
#endif
					 const char *fileName, int lineNumber)
{
	printf("Bail out! assertion failed: %s, %s:%d\n",
		   conditionName, fileName, lineNumber);
	abort();
}
