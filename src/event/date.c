/*
 * date.c
 *		Dates of birth -> YYYYMMDD (form.h).
 *
 * Reads what date and timestamp columns print in every DateStyle, what people
 * type, and month names of some languages.  Which number is the day follows
 * from the separator, the values and the country; see doc/normalisation.md.
 */
#include "postgres.h"

#include <unictype.h>

#include "event/form.h"
#include "event/number.h"
#include "event/text.h"

/*
 * SPEC 3.2: birth years run from 1900 to now.  The clock is not ours to read:
 * the SQL functions are immutable.  payload.c refuses days that are yet to
 * come; here it is enough that nobody born after 2030 will buy for a while.
 */
#define MIN_BIRTH_YEAR		1900
#define MAX_BIRTH_YEAR		2030

#define MAX_PARTS			3
#define MAX_PART_DIGITS		8
#define MAX_WORD_BYTES		32

typedef struct MonthName
{
	const char *name;
	int			month;
} MonthName;

/*
 * As capi_text_key writes them, sorted: English, German, French, Spanish,
 * Italian, Portuguese and Dutch, with their usual abbreviations.
 */
static const MonthName month_names[] = {
	{"abr", 4}, {"abril", 4}, {"ago", 8}, {"agosto", 8}, {"aout", 8},
	{"apr", 4}, {"april", 4}, {"aprile", 4}, {"aug", 8}, {"august", 8},
	{"augustus", 8}, {"avr", 4}, {"avril", 4}, {"dec", 12},
	{"december", 12}, {"decembre", 12}, {"dez", 12}, {"dezember", 12},
	{"dezembro", 12}, {"dic", 12}, {"dicembre", 12}, {"diciembre", 12},
	{"ene", 1}, {"enero", 1}, {"feb", 2}, {"febbraio", 2}, {"febrero", 2},
	{"februar", 2}, {"februari", 2}, {"february", 2}, {"fev", 2},
	{"fevereiro", 2}, {"fevr", 2}, {"fevrier", 2}, {"gen", 1},
	{"gennaio", 1}, {"giu", 6}, {"giugno", 6}, {"jan", 1}, {"janeiro", 1},
	{"janner", 1}, {"januar", 1}, {"januari", 1}, {"january", 1},
	{"janv", 1}, {"janvier", 1}, {"juil", 7}, {"juillet", 7}, {"juin", 6},
	{"jul", 7}, {"julho", 7}, {"juli", 7}, {"julio", 7}, {"july", 7},
	{"jun", 6}, {"june", 6}, {"junho", 6}, {"juni", 6}, {"junio", 6},
	{"lug", 7}, {"luglio", 7}, {"maart", 3}, {"mag", 5}, {"maggio", 5},
	{"mai", 5}, {"maio", 5}, {"mar", 3}, {"march", 3}, {"marco", 3},
	{"mars", 3}, {"marz", 3}, {"marzo", 3}, {"may", 5}, {"mayo", 5},
	{"mei", 5}, {"mrt", 3}, {"mrz", 3}, {"nov", 11}, {"novembre", 11},
	{"november", 11}, {"novembro", 11}, {"noviembre", 11}, {"oct", 10},
	{"october", 10}, {"octobre", 10}, {"octubre", 10}, {"okt", 10},
	{"oktober", 10}, {"ott", 10}, {"ottobre", 10}, {"out", 10},
	{"outubro", 10}, {"sep", 9}, {"sept", 9}, {"september", 9},
	{"septembre", 9}, {"septiembre", 9}, {"set", 9}, {"setembro", 9},
	{"setiembre", 9}, {"settembre", 9}
};

/* Words beside the date: weekdays, endings, and what follows numbers in Asia. */
static const char *const other_words[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", "sunday", "monday",
	"tuesday", "wednesday", "thursday", "friday", "saturday", "st", "nd", "rd",
	"th", "of", "de", "er", "o"
};
static const char *const asian_units[] = {"年", "月", "日", "년", "월", "일"};

/* A number, or a month by name. */
typedef struct DatePart
{
	int			value;
	int			width;			/* digits; 0: a name */
} DatePart;

typedef struct DateText
{
	DatePart	parts[MAX_PARTS];
	int			n;
	char		gaps[MAX_PARTS];	/* what stands behind each part, or 0 */
	bool		time_seen;
} DateText;

static bool
is_day(int year, int month, int day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (year < MIN_BIRTH_YEAR || year > MAX_BIRTH_YEAR ||
		month < 1 || month > 12 || day < 1)
		return false;
	if (month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)))
		return day <= 29;
	return day <= days[month - 1];
}

static int
find_month(const char *key)
{
	int			low = 0;
	int			high = lengthof(month_names) - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		int			cmp = strcmp(key, month_names[mid].name);

		if (cmp == 0)
			return month_names[mid].month;
		if (cmp < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return 0;
}

/* Length of the unit of Asia that the text begins with, or 0. */
static int
unit_length(const char *p, const char *end)
{
	for (int i = 0; i < (int) lengthof(asian_units); i++)
	{
		int			len = strlen(asian_units[i]);

		if (end - p >= len && strncmp(p, asian_units[i], len) == 0)
			return len;
	}
	return 0;
}

static bool
is_other_word(const char *key)
{
	for (int i = 0; i < (int) lengthof(other_words); i++)
		if (strcmp(other_words[i], key) == 0)
			return true;
	return false;
}

/* Reads a word: a month becomes a part.  False if it has no place in a date. */
static bool
read_word(DateText *date, const char **p, const char *end)
{
	const char *start = *p;
	char		key[MAX_WORD_BYTES];
	int			month;
	int			unit = unit_length(*p, end);

	if (unit > 0)
	{
		*p += unit;
		return true;
	}
	while (*p < end)
	{
		const char *q = *p;
		uint32		c;

		if (capi_text_digit(&q, end, &c) >= 0 || !uc_is_alpha(c))
			break;
		*p = q;
	}
	if (capi_text_key(key, sizeof(key), start, *p - start) == 0)
		return false;
	month = find_month(key);
	if (month == 0)
		return is_other_word(key);
	date->parts[date->n].value = month;
	date->parts[date->n].width = 0;
	date->n++;
	return true;
}

/* Steps over a time of day that begins with a number just read. */
static void
skip_time(const char **p, const char *end)
{
	while (*p < end && (capi_form_is_digit(**p) || **p == ':' || **p == '.'))
		(*p)++;
}

/* Reads a number, which a time of day is not. */
static bool
read_number(DateText *date, const char **p, const char *end)
{
	DatePart   *part = &date->parts[date->n];
	uint32		c;

	part->value = part->width = 0;
	while (*p < end)
	{
		const char *q = *p;
		int			digit = capi_text_digit(&q, end, &c);

		if (digit < 0)
			break;
		if (part->width == MAX_PART_DIGITS)
			return false;
		part->value = part->value * 10 + digit;
		part->width++;
		*p = q;
	}
	if (*p < end && **p == ':')
	{
		date->time_seen = true;
		skip_time(p, end);
		return true;
	}
	date->n++;
	return true;
}

/* Eight digits are a whole date. */
static void
split_compact(DateText *date)
{
	int			number = date->parts[0].value;

	date->parts[0] = (DatePart) {number / 10000, 4};
	date->parts[1] = (DatePart) {number / 100 % 100, 2};
	date->parts[2] = (DatePart) {number % 100, 2};
	date->n = 3;
}

/* Reads the parts up to where the date is complete. */
static bool
read_parts(DateText *date, const char **p, const char *end)
{
	while (*p < end && date->n < MAX_PARTS)
	{
		const char *q = *p;
		uint32		c;

		if (capi_text_digit(&q, end, &c) >= 0)
		{
			if (!read_number(date, p, end))
				return false;
			if (date->n == 1 && date->parts[0].width == MAX_PART_DIGITS)
				split_compact(date);
		}
		else if (uc_is_alpha(c))
		{
			if (!read_word(date, p, end))
				return false;
		}
		else
		{
			char	   *gap = &date->gaps[Max(date->n - 1, 0)];

			if (date->n > 0 && (*gap == 0 || *gap == ' '))
				*gap = c < 0x80 ? c : '-';
			*p = q;
		}
	}
	return date->n == MAX_PARTS;
}

/* What follows the date may only be a time, or the zone of one before. */
static bool
is_tail(const DateText *date, const char *p, const char *end)
{
	p += unit_length(p, end);
	while (p < end && (*p == ' ' || *p == ',' || *p == '.'))
		p++;
	if (p == end || date->time_seen)
		return true;
	if (*p == 'T' || *p == 't')
		return p + 1 < end && capi_form_is_digit(p[1]);
	return p[-1] == ' ' && capi_form_is_digit(*p) &&
		memchr(p, ':', end - p) != NULL;
}

/* Countries that write the month first, or both ways. */
static bool
writes_month_first(const char *country)
{
	static const char *const countries[] = {
		"as", "ca", "fm", "gu", "mh", "mp", "ph", "pr", "pw", "um", "us", "vi"
	};

	for (int i = 0; i < (int) lengthof(countries); i++)
		if (strcmp(country, countries[i]) == 0)
			return true;
	return false;
}

/*
 * Of two numbers before the year, is the first the day?  With dots it is, as
 * everywhere dots are used; otherwise where the country is known to write so,
 * and else not, as in the documentation's example.  A number beyond 12 decides
 * in any case.
 */
static bool
is_day_first(const CapiInput *in, const DateText *date)
{
	if (date->parts[0].value > 12)
		return true;
	if (date->parts[1].value > 12)
		return false;
	return date->gaps[0] == '.' ||
		(in->country != NULL && !writes_month_first(in->country));
}

/* Puts the parts into the order year, month, day; false if there is none. */
static bool
order_parts(const CapiInput *in, const DateText *date, int ymd[3])
{
	const DatePart *parts = date->parts;
	int			year = parts[0].width == 4 ? 0 : 2;
	int			first = year == 0 ? 1 : 0;
	int			month = 1;

	if (parts[year].width != 4)
		return false;
	for (int i = first; i < first + 2; i++)
		if (parts[i].width > 2)
			return false;
	if (parts[first].width == 0 || parts[first + 1].width == 0)
	{
		if (parts[first].width == parts[first + 1].width)
			return false;		/* two names */
		month = parts[first].width == 0 ? first : first + 1;
	}
	else if (date->gaps[0] != date->gaps[1])
		return false;
	else if (year == 2)
		month = is_day_first(in, date) ? 1 : 0;
	ymd[0] = parts[year].value;
	ymd[1] = parts[month].value;
	ymd[2] = parts[2 * first + 1 - month].value;
	return true;
}

bool
capi_form_date(CapiInput *in, StringInfo out)
{
	DateText	date = {.n = 0};
	char		number[CAPI_NUMBER_MAX_LEN];
	const char *p;
	const char *end;
	int			ymd[3];

	if (!capi_number_mend(in, MAX_PART_DIGITS, number))
		return false;
	p = in->s;
	end = in->s + in->len;
	if (!read_parts(&date, &p, end) || !is_tail(&date, p, end) ||
		!order_parts(in, &date, ymd))
		return capi_form_refuse(in, "not a date");
	if (!is_day(ymd[0], ymd[1], ymd[2]))
		return capi_form_refuse(in, "not a date of birth");
	appendStringInfo(out, "%04d%02d%02d", ymd[0], ymd[1], ymd[2]);
	return true;
}
