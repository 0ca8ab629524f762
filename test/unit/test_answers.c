/*
 * test_answers.c
 *		answers.tsv against response.c: of each answer to a request of three
 *		events its class, code, certainty, guilty event, rest and message.
 *
 * With the argument --print the file is written anew as response.c has it, for
 * a look at what a change changed.
 */
#include "postgres.h"

#include "answer/response.h"
#include "tap.h"

#define EVENTS_SENT	3
#define MAX_LINE	8192

enum
{
	C_NAME, C_STATUS, C_HEADER, C_BODY, C_CLASS, C_CODE, C_SUBCODE, C_SURE,
	C_GUILTY, C_REST, C_MESSAGE, C_COLUMNS
};

/* \xNN, \n and \\ of the file; another backslash is one. */
static size_t
unescape(char *text)
{
	char	   *to = text;

	for (char *p = text; *p != '\0'; p++)
	{
		char		digits[3] = {0};

		if (p[0] == '\\' && p[1] == 'x')
		{
			memcpy(digits, p + 2, 2);
			*to++ = (char) strtol(digits, NULL, 16);
			p += 3;
		}
		else if (p[0] == '\\' && (p[1] == 'n' || p[1] == '\\'))
			*to++ = *++p == 'n' ? '\n' : '\\';
		else
			*to++ = *p;
	}
	*to = '\0';
	return to - text;
}

static CapiTransportCode
transport_code(const char *word)
{
	static const struct
	{
		const char *word;
		CapiTransportCode code;
	}			words[] = {
		{"resolve", CAPI_TRANSPORT_RESOLVE}, {"connect", CAPI_TRANSPORT_CONNECT},
		{"tls", CAPI_TRANSPORT_TLS}, {"timeout", CAPI_TRANSPORT_TIMEOUT},
		{"cut", CAPI_TRANSPORT_CUT}, {"too large", CAPI_TRANSPORT_TOO_LARGE},
		{"other", CAPI_TRANSPORT_OTHER},
	};

	for (size_t i = 0; i < lengthof(words); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].code;
	return CAPI_TRANSPORT_OK;
}

/* "name: value" of the one header that a line may have. */
static void
set_header(CapiAnswer *answer, const char *header)
{
	const char *value = strstr(header, ": ");

	if (value == NULL)
		return;
	value += 2;
	if (strncmp(header, "retry-after", 11) == 0)
		strlcpy(answer->retry_after, value, sizeof(answer->retry_after));
	else if (strncmp(header, "app", 3) == 0)
		strlcpy(answer->app_usage, value, sizeof(answer->app_usage));
	else if (strncmp(header, "account", 7) == 0)
		strlcpy(answer->account_usage, value, sizeof(answer->account_usage));
	else if (strncmp(header, "business", 8) == 0)
		strlcpy(answer->business_usage, value, sizeof(answer->business_usage));
}

static void
classify(char **column, CapiResult *r)
{
	CapiAnswer	answer = {0};
	char		body[MAX_LINE];

	strlcpy(body, column[C_BODY], sizeof(body));
	answer.transport = transport_code(column[C_STATUS]);
	answer.http_status = atoi(column[C_STATUS]);
	if (answer.transport == CAPI_TRANSPORT_TOO_LARGE)
		answer.http_status = 200;
	answer.body_len = unescape(body);
	answer.body = body;
	set_header(&answer, column[C_HEADER]);
	capi_response_classify(&answer, EVENTS_SENT, r);
}

/* The columns that are found out, as the file has them. */
static void
describe(const CapiResult *r, char *text, size_t size)
{
	char		guilty[16] = "-";

	if (r->guilty_index >= 0)
		snprintf(guilty, sizeof(guilty), "%d", r->guilty_index);
	snprintf(text, size, "%s\t%d\t%d\t%s\t%s\t" INT64_FORMAT "\t%s",
			 capi_response_class_name(r->class), r->error_code, r->error_subcode,
			 r->uncertain ? "guess" : "sure", guilty, r->rest_ms, r->message);
}

/* Splits at tabs; the number of columns. */
static int
split_line(char *line, char **column)
{
	int			n = 0;

	line[strcspn(line, "\n")] = '\0';
	for (char *p = line; p != NULL && n < C_COLUMNS; n++)
	{
		column[n] = p;
		p = strchr(p, '\t');
		if (p != NULL)
			*p++ = '\0';
	}
	return n;
}

static void
check_line(char *line, bool print)
{
	char	   *column[C_COLUMNS];
	char		got[2048];
	char		expected[2048];
	CapiResult	r;

	if (split_line(line, column) != C_COLUMNS)
	{
		ok(false, line);
		return;
	}
	classify(column, &r);
	describe(&r, got, sizeof(got));
	if (print)
	{
		printf("%s\t%s\t%s\t%s\t%s\n", column[C_NAME], column[C_STATUS],
			   column[C_HEADER], column[C_BODY], got);
		return;
	}
	snprintf(expected, sizeof(expected), "%s\t%s\t%s\t%s\t%s\t%s\t%s", column[C_CLASS],
			 column[C_CODE], column[C_SUBCODE], column[C_SURE], column[C_GUILTY],
			 column[C_REST], column[C_MESSAGE]);
	is_text(got, expected, column[C_NAME]);
}

int
main(int argc, char **argv)
{
	bool		print = argc > 1 && strcmp(argv[1], "--print") == 0;
	char	   *slash = strrchr(argv[0], '/');
	char		path[MAXPGPATH];
	char		line[MAX_LINE];
	FILE	   *file;

	snprintf(path, sizeof(path), "%.*sanswers.tsv",
			 slash == NULL ? 0 : (int) (slash - argv[0] + 1), argv[0]);
	file = fopen(path, "r");
	if (file == NULL)
	{
		printf("Bail out! cannot read %s\n", path);
		return 1;
	}
	while (fgets(line, sizeof(line), file) != NULL)
		if (line[0] != '#')
			check_line(line, print);
		else if (print)
			printf("%s", line);
	fclose(file);
	if (print)
		return 0;
	ok(tap_count >= 120, "a hundred and twenty answers at least");
	return done_testing();
}
