/*
 * list.c
 *		One text -> the members of the list in it (list.h).
 *
 * Guesses nothing: a comma alone parts no ids, for ids may hold one, and a text
 * in braces that is a GUID is one.  An object is no list, and its text must not
 * be sent in place of the value that is somewhere in it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/jsonb.h"

#include "event/entity.h"
#include "event/form.h"
#include "event/list.h"
#include "event/text.h"

#define GUID_BYTES		38		/* with its braces */
#define FIRST_ROOM		8

static const char *const no_list = "looks like a list, but is no JSON";
static const char separators[] = ",;|\t\n";
static const char *const no_scalar = "an object, or a list within a list";

/* The values of a field, while they grow. */
typedef struct Texts
{
	int			field;
	char	  **v;
	int			n;
	int			room;
	const char *problem;		/* of a member, or NULL */
} Texts;

static void
add_text(Texts *texts, char *text)
{
	if (texts->n == texts->room)
	{
		texts->room = texts->room > 0 ? texts->room * 2 : FIRST_ROOM;
		texts->v = texts->v == NULL ? palloc(sizeof(char *) * texts->room) :
			repalloc(texts->v, sizeof(char *) * texts->room);
	}
	texts->v[texts->n++] = text;
}

/* A member that is null has a place in some lists. */
static void
add_null(Texts *texts)
{
	if (capi_field_info(texts->field)->flags & CAPI_FIELD_PLACES)
		add_text(texts, pstrdup(""));
}

/* Adds the id of an item of contents, which belongs into content_ids. */
static void
add_item_id(Texts *texts, JsonbContainer *object)
{
	JsonbValue	key = {.type = jbvString, .val.string = {2, "id"}};
	JsonbValue *id = NULL;

	if (texts->field == CAPI_FIELD_CONTENT_IDS && JsonContainerIsObject(object))
		id = findJsonbValueFromContainer(object, JB_FOBJECT, &key);
	if (id != NULL && (id->type == jbvString || id->type == jbvNumeric))
		add_text(texts, capi_contents_scalar(id));
	else
		texts->problem = no_scalar;
}

static void
add_member(Texts *texts, const JsonbValue *member)
{
	CHECK_FOR_INTERRUPTS();
	if (member->type == jbvBinary)
		add_item_id(texts, member->val.binary.data);
	else if (member->type == jbvNull)
		add_null(texts);
	else
		add_text(texts, capi_contents_scalar(member));
}

/* Is the key a number, as PHP writes lists that have lost a member? */
static bool
is_index(const JsonbValue *key)
{
	for (int i = 0; i < key->val.string.len; i++)
		if (!capi_form_is_digit(key->val.string.val[i]))
			return false;
	return key->val.string.len > 0;
}

/* Adds the members of an array, or of an object whose keys are numbers. */
static void
add_members(Texts *texts, Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			if (!is_index(&value))
			{
				add_item_id(texts, &json->root);
				return;
			}
		}
		else if (token == WJB_ELEM || token == WJB_VALUE)
			add_member(texts, &value);
	}
}

/*
 * Reads one member of an array as the server prints it, from *p on, which is
 * moved behind it.  False if the text is something else.
 */
static bool
read_element(Texts *texts, const char **p, const char *end)
{
	bool		quoted = **p == '"';
	char	   *text = palloc(end - *p + 1);
	int			n = 0;

	*p += quoted;
	for (; *p < end && (quoted ? **p != '"' : **p != ','); (*p)++)
	{
		if (**p == '\\' && *p + 1 < end)
			(*p)++;
		else if (!quoted && strchr("{}\"", **p) != NULL)
			return false;
		text[n++] = **p;
	}
	text[n] = '\0';
	if (quoted && (*p)++ == end)
		return false;
	if (!quoted && n == 0)
		return false;
	if (!quoted && pg_strcasecmp(text, "null") == 0)
		add_null(texts);
	else
		add_text(texts, text);
	return *p == end || **p == ',';
}

/* {A,"B, C",NULL}; without the braces.  False if it is something else. */
static bool
add_array(Texts *texts, const char *p, const char *end)
{
	while (p < end)
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_element(texts, &p, end))
			return false;
		if (p < end && ++p == end)
			return false;		/* a comma at the end */
	}
	return true;
}

static bool
is_guid(const char *s, int len)
{
	if (len != GUID_BYTES)
		return false;
	for (int i = 1; i < len - 1; i++)
		if (s[i] != '-' && !capi_form_is_alnum(s[i]))
			return false;
	return s[9] == '-' && s[14] == '-' && s[19] == '-' && s[24] == '-';
}

/* a:2:{i:0;s:1:"A";...} */
static bool
is_php_array(const char *s, int len)
{
	int			i = 2;

	if (len < 6 || s[0] != 'a' || s[1] != ':' || s[len - 1] != '}')
		return false;
	while (i < len && capi_form_is_digit(s[i]))
		i++;
	return i > 2 && i + 1 < len && s[i] == ':' && s[i + 1] == '{';
}

/* JSON but for its quotes, as Python prints lists. */
static Jsonb *
parse_single_quoted(const char *s, int len)
{
	char	   *copy = pnstrdup(s, len);

	if (strchr(copy, '\'') == NULL || strpbrk(copy, "\"\\") != NULL)
		return NULL;
	for (char *p = copy; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	return capi_contents_parse(copy);
}

/* The JSON of a text, or of one that is nearly JSON; NULL: there is none. */
static Jsonb *
parse_structure(const char *s, int len)
{
	Jsonb	   *json = capi_contents_parse(pnstrdup(s, len));

	if (json == NULL && s[0] == '[')
		json = parse_single_quoted(s, len);
	/* "A","B" */
	if (json == NULL && s[0] == '"')
		json = capi_contents_parse(psprintf("[%.*s]", len, s));
	return json;
}

/* Adds what is in a text that is in brackets or quotes. */
static void
add_structure(Texts *texts, const char *s, int len)
{
	Jsonb	   *json = parse_structure(s, len);
	int			before = texts->n;
	bool		hashed = (capi_field_info(texts->field)->flags & CAPI_FIELD_HASHED) != 0;

	if (json != NULL && !(len == 2 && s[0] == '{'))
	{
		add_members(texts, json);
		return;
	}
	if (s[0] == '{' && !is_guid(s, len) && add_array(texts, s + 1, s + len - 1))
		return;
	texts->n = before;
	if (!hashed && s[0] == '[' &&
		(memchr(s, ',', len) != NULL || memchr(s, '"', len) != NULL))
		texts->problem = no_list;
	else
		add_text(texts, pnstrdup(s, len));
}

/* Does the text begin and end as a list or a JSON string does? */
static inline bool
is_enclosed(const char *s, int len)
{
	return len > 1 && ((s[0] == '[' && s[len - 1] == ']') ||
					   (s[0] == '{' && s[len - 1] == '}') ||
					   (s[0] == '"' && s[len - 1] == '"'));
}

/* Adds the value, or what is in it. */
static void
add_value(Texts *texts, char *value)
{
	const char *s = value;
	int			len = strlen(value);

	/* [&quot;A&quot;] */
	if ((*s == '[' || *s == '{' || *s == '&') && strstr(s, "&quot;") != NULL)
		s = capi_entity_decode(s, &len, CAPI_ENTITY_CLOSED);
	while (len > 0 && isspace((unsigned char) *s))
	{
		s++;
		len--;
	}
	while (len > 0 && isspace((unsigned char) s[len - 1]))
		len--;
	if (is_php_array(s, len))
		texts->problem = "an array of PHP's, give a JSON array";
	else if (is_enclosed(s, len))
		add_structure(texts, s, len);
	else
	{
		if (texts->field == CAPI_FIELD_CONTENT_IDS && memchr(s, ',', len) != NULL)
			texts->problem = "one id that holds a comma, lists are arrays or JSON";
		else if (texts->field == CAPI_FIELD_CONTENT_IDS && strpbrk(pnstrdup(s, len), separators) != NULL)
			texts->problem = "one id that holds a separator, lists are arrays or JSON";
		add_text(texts, value);
	}
}

/* Is there anything to do, at a first look? */
static bool
is_plain(int field, const CapiValues *values)
{
	for (int i = 0; i < values->n; i++)
	{
		const char *s = values->v[i];

		if (*s == '[' || *s == '{' || *s == '"' || *s == ' ' || *s == '\n' ||
			(*s == 'a' && s[1] == ':') ||
			*s == '&' ||
			(field == CAPI_FIELD_CONTENT_IDS && strpbrk(s, separators) != NULL))
			return false;
	}
	return true;
}

void
capi_list_expand(int field, CapiValues *values, CapiContentsReport report,
				 void *arg)
{
	Texts		texts = {.field = field};

	if (is_plain(field, values))
		return;
	for (int i = 0; i < values->n; i++)
		add_value(&texts, values->v[i]);
	if (texts.problem != NULL)
		report(arg, "", texts.problem);
	else if (texts.n == 0)
		values->is_empty_list = true;
	values->v = texts.v;
	values->n = texts.n;
}
