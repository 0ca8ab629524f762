/*
 * fuzz.h
 *		What the fuzz targets share.
 */
#ifndef CAPI_FUZZ_H
#define CAPI_FUZZ_H

/* A property that does not hold ends the run like a crash. */
#define require(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "does not hold: %s, %s:%d\n", \
					#condition, __FILE__, __LINE__); \
			abort(); \
		} \
	} while (0)

/* in memory.c */
extern void free_all(void);

/* Is the text a number as JSON takes it? */
static inline bool
is_json_number(const char *s)
{
	if (*s == '-')
		s++;
	if (*s == '0')
		s++;
	else if (*s >= '1' && *s <= '9')
		s += strspn(s, "0123456789");
	else
		return false;
	if (*s == '.')
	{
		size_t		n = strspn(++s, "0123456789");

		if (n == 0)
			return false;
		s += n;
	}
	return *s == '\0';
}

#endif							/* CAPI_FUZZ_H */
