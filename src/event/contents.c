/*
 * contents.c
 *		JSON that a query supplies -> JSON that Meta accepts (contents.h).
 *
 * Reads with the server's jsonb, whose numbers are exact, and works without a
 * transaction like the rest of the pure modules.  Does not judge the event.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "event/contents.h"
#include "event/decimal.h"
#include "event/field.h"
#include "event/member.h"
#include "event/normalize.h"
#include "event/text.h"

/* A name in a report is cut here: users write anything. */
#define MAX_REPORTED_NAME_BYTES		64

/* What is being written, and whom to tell of what is not. */
typedef struct Writer
{
	StringInfo	out;
	CapiContentsReport report;
	void	   *arg;
	int			minor_digits;	/* decimals hidden in an item's price */
	bool		need_quantity;	/* of every item */
	bool		has_quantity;	/* the one at hand */
} Writer;

/* Four hexadecimal digits behind a backslash and "u"; -1: there are none. */
static int
unicode_escape(const char *s)
{
	int			code = 0;

	if (s[0] != '\\' || s[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		const char *digits = "0123456789abcdef";
		const char *found = s[i] != '\0' ? strchr(digits, pg_tolower((unsigned char) s[i])) : NULL;

		if (found == NULL)
			return -1;
		code = code * 16 + (int) (found - digits);
	}
	return code;
}

/*
 * The text without escapes beyond ASCII: those the server would write in the
 * database's encoding, or refuse, and the event is UTF-8.
 */
static char *
without_escapes(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	while (*text != '\0')
	{
		int			code = unicode_escape(text);
		int			len = code >= 0 ? 6 : text[0] == '\\' && text[1] != '\0' ? 2 : 1;
		unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN + 1] = {0};

		if (code >= 0xD800 && code < 0xDC00)
		{
			int			low = unicode_escape(text + 6);

			if (low >= 0xDC00 && low < 0xE000)
			{
				code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
				len = 12;
			}
		}
		if (code >= 0x80 && (code < 0xD800 || code >= 0xE000))
			appendStringInfoString(&out, (char *) unicode_to_utf8(code, utf8));
		else
			appendBinaryStringInfo(&out, text, len);
		text += len;
	}
	return out.data;
}

Jsonb *
capi_contents_parse(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile result = NULL;

	/* jsonb trusts that text is valid in the database's encoding */
	if (!capi_text_is_valid(text, strlen(text)))
		return NULL;
	PG_TRY();
	{
		const char *plain = GetDatabaseEncoding() == PG_UTF8 ? text : without_escapes(text);

		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													CStringGetDatum(plain)));
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		/* only what the text is to blame for */
		if (ERRCODE_TO_CATEGORY(code) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(code) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

/* Reports about the key of that name below prefix. */
static void
report_key(Writer *w, const char *prefix, const JsonbValue *key,
		   const char *problem)
{
	char		where[MAX_REPORTED_NAME_BYTES + 32];
	int			len = Min(key->val.string.len, MAX_REPORTED_NAME_BYTES);

	/* not through the middle of a character */
	while (len > 0 && len < key->val.string.len &&
		   (key->val.string.val[len] & 0xC0) == 0x80)
		len--;
	snprintf(where, sizeof(where), "%s%.*s", prefix, len, key->val.string.val);
	w->report(w->arg, where, problem);
}

static char *
numeric_text(const JsonbValue *v)
{
	Datum		number = NumericGetDatum(v->val.numeric);

	return DatumGetCString(DirectFunctionCall1(numeric_out, number));
}

/* Without zeros behind the point: 12.0 is the number 12, and an id then. */
static char *
trimmed_number(const JsonbValue *v)
{
	Datum		number = NumericGetDatum(v->val.numeric);

	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   DirectFunctionCall1(numeric_trim_scale, number)));
}

static bool append_known(Writer *w, JsonbContainer *object,
						 const CapiMember *list, const char *prefix,
						 bool *separate);

/* Appends any value as it is. */
static void
append_value(StringInfo out, const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			capi_text_append_json(out, v->val.string.val, v->val.string.len);
			break;
		case jbvNumeric:
			appendStringInfoString(out, numeric_text(v));
			break;
		case jbvBool:
			appendStringInfoString(out, v->val.boolean ? "true" : "false");
			break;
		case jbvBinary:
			(void) JsonbToCString(out, v->val.binary.data, v->val.binary.len);
			break;
		default:
			appendStringInfoString(out, "null");
	}
}

/*
 * Appends a scalar as the member wants it.  False with the problem if it
 * cannot be; without one if it is null or empty.
 */
static bool
append_scalar(StringInfo out, const JsonbValue *v, const CapiMember *member,
			  const char **problem)
{
	const char *text;
	int			len;
	int			start = out->len;
	char	   *normal;

	*problem = NULL;
	switch (v->type)
	{
		case jbvNull:
			return false;
		case jbvString:
			text = v->val.string.val;
			len = v->val.string.len;
			break;
		case jbvNumeric:
			text = member->form == CAPI_FORM_PRODUCT_ID ? trimmed_number(v) :
				numeric_text(v);
			len = strlen(text);
			break;
		case jbvBool:
			text = v->val.boolean ? "true" : "false";
			len = strlen(text);
			break;
		default:
			*problem = "neither text nor number";
			return false;
	}
	if (!capi_normalize_form(member->form, text, len, NULL, out, problem) ||
		!capi_normalize_word(member->words, out, start, problem))
		return false;
	if (member->flags & CAPI_FIELD_BARE)
		return true;
	len = out->len - start;
	normal = pnstrdup(out->data + start, len);
	out->len = start;
	capi_text_append_json(out, normal, len);
	pfree(normal);
	return true;
}

/*
 * Appends the scalars of an array, or the one scalar, as a JSON array of texts.
 * Null and empty members stay as empty texts: in extinfo places matter.
 */
static bool
append_list(StringInfo out, const JsonbValue *v, const CapiMember *member,
			const char **problem)
{
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;
	const char *between = "";

	*problem = NULL;
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
	{
		*problem = "not a JSON array";
		return false;
	}
	appendStringInfoChar(out, '[');
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token != WJB_ELEM)
			continue;
		appendStringInfoString(out, between);
		if (!append_scalar(out, &element, member, problem))
		{
			if (*problem != NULL)
				return false;
			appendStringInfoString(out, "\"\"");
		}
		between = ",";
	}
	appendStringInfoChar(out, ']');
	return true;
}

/* Appends an object of known members.  As append_scalar. */
static bool
append_object(Writer *w, const JsonbValue *v, const CapiMember *member,
			  const char **problem)
{
	bool		any = false;

	*problem = "not a JSON object";
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return false;
	*problem = NULL;
	appendStringInfoChar(w->out, '{');
	(void) append_known(w, v->val.binary.data, member->members, member->name, &any);
	appendStringInfoChar(w->out, '}');
	return any;
}

/* Appends the value of a known member.  As append_scalar. */
static bool
append_member(Writer *w, const JsonbValue *v, const CapiMember *member,
			  const char **problem)
{
	int			start = w->out->len;

	if (v->type == jbvNull)
	{
		*problem = NULL;
		return false;
	}
	if (member->flags & CAPI_FIELD_LIST)
		return append_list(w->out, v, member, problem);
	if (member->form == CAPI_FORM_OBJECT)
		return append_object(w, v, member, problem);
	if (!append_scalar(w->out, v, member, problem))
		return false;
	if (w->minor_digits > 0 && strcmp(member->name, "item_price") == 0)
		capi_decimal_shift(w->out, start, w->minor_digits);
	return true;
}

/*
 * Appends the known members of an object, each with a comma in front if
 * *separate.  Drops and reports, below prefix, the others.  Tells whether the
 * first member of the list was among them.
 */
static bool
append_known(Writer *w, JsonbContainer *object, const CapiMember *list,
			 const char *prefix, bool *separate)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	key;
	JsonbValue	value;
	JsonbIteratorToken token;
	bool		has_first = false;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const CapiMember *known;
		const char *problem;
		int			before = w->out->len;

		CHECK_FOR_INTERRUPTS();
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		known = capi_member_find(list, key.val.string.val, key.val.string.len);
		if (known == NULL)
		{
			report_key(w, prefix, &key, "not known to Meta");
			continue;
		}
		if (known->flags & CAPI_MEMBER_COLUMN)
			continue;			/* capi_contents_hoist took it */
		appendStringInfo(w->out, "%s\"%s\":", *separate ? "," : "", known->name);
		if (!append_member(w, &value, known, &problem))
		{
			w->out->len = before;
			if (problem != NULL)
				report_key(w, prefix, &key, problem);
			continue;
		}
		*separate = true;
		has_first |= known == list;
		w->has_quantity |= strcmp(known->name, "quantity") == 0;
	}
	return has_first;
}

/*
 * Appends one item, with a comma in front if separate.  Without an id it would
 * name no product, and is dropped.
 */
static bool
append_item(Writer *w, JsonbContainer *item, bool separate)
{
	int			start = w->out->len;
	bool		any = false;
	bool		has_id;

	w->has_quantity = false;
	appendStringInfoString(w->out, separate ? ",{" : "{");
	has_id = append_known(w, item, capi_member_list(CAPI_FIELD_CONTENTS),
						  "contents[].", &any);
	if (!has_id || (w->need_quantity && !w->has_quantity))
	{
		w->out->len = start;
		if (has_id)
			w->report(w->arg, "contents[].quantity", "item without quantity");
		else
			w->report(w->arg, "contents[].id", "item without id");
		return false;
	}
	appendStringInfoChar(w->out, '}');
	return true;
}

/* May one more item be written?  If not, notes how many there are still. */
static bool
take_room(StringInfo out, CapiContentsLimit *limit, int left)
{
	if (limit->items > 0 && out->len < limit->end)
	{
		limit->items--;
		return true;
	}
	limit->left_out += left;
	return false;
}

/* The JSON in a JSON string, as what was encoded twice; or NULL. */
static Jsonb *
parse_inner(Jsonb *string)
{
	JsonbValue	inner;

	if (!JsonbExtractScalar(&string->root, &inner) || inner.type != jbvString)
		return NULL;
	return capi_contents_parse(pnstrdup(inner.val.string.val, inner.val.string.len));
}

int
capi_contents_append_items(StringInfo out, const char *json, bool separate,
						   int minor_digits, bool need_quantity,
						   CapiContentsLimit *limit,
						   CapiContentsReport report, void *arg)
{
	Writer		w = {out, report, arg, minor_digits, need_quantity, false};
	Jsonb	   *parsed = capi_contents_parse(json);
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;
	int			seen = 0;
	int			n = 0;

	if (parsed != NULL && JB_ROOT_IS_SCALAR(parsed))
		parsed = parse_inner(parsed);
	if (parsed == NULL || JB_ROOT_IS_SCALAR(parsed))
	{
		report(arg, "contents", "not a JSON array of objects");
		return 0;
	}
	if (JB_ROOT_IS_OBJECT(parsed))
	{
		if (take_room(out, limit, 1))
			n = append_item(&w, &parsed->root, separate) ? 1 : 0;
		return n;
	}
	it = JsonbIteratorInit(&parsed->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (!take_room(out, limit, JB_ROOT_COUNT(parsed) - seen++))
			break;
		if (value.type != jbvBinary ||
			!JsonContainerIsObject(value.val.binary.data))
			report(arg, "contents[]", "item is not an object");
		else if (append_item(&w, value.val.binary.data, separate || n > 0))
			n++;
	}
	return n;
}

/* Is this the name of a field that has a column of its own in custom_data? */
static bool
is_standard_name(const JsonbValue *key)
{
	char		name[MAX_REPORTED_NAME_BYTES];
	int			field;

	if (key->val.string.len >= (int) sizeof(name))
		return false;
	memcpy(name, key->val.string.val, key->val.string.len);
	name[key->val.string.len] = '\0';
	field = capi_field_lookup(name);
	return field >= 0 && field != CAPI_FIELD_CUSTOM_DATA &&
		capi_field_info(field)->group == CAPI_GROUP_CUSTOM_DATA;
}

void
capi_contents_append_members(StringInfo out, const char *json, bool reserve,
							 bool *separate, CapiContentsReport report,
							 void *arg)
{
	Writer		w = {out, report, arg, 0, false, false};
	Jsonb	   *parsed = capi_contents_parse(json);
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	JsonbIteratorToken token;

	if (parsed == NULL || !JB_ROOT_IS_OBJECT(parsed))
	{
		report(arg, "", "not a JSON object");
		return;
	}
	it = JsonbIteratorInit(&parsed->root);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (reserve && is_standard_name(&key))
		{
			report_key(&w, "custom_data.", &key,
					   "a standard field, give it as a column of its own");
			continue;
		}
		if (*separate)
			appendStringInfoChar(out, ',');
		*separate = true;
		capi_text_append_json(out, key.val.string.val, key.val.string.len);
		appendStringInfoChar(out, ':');
		append_value(out, &value);
	}
}

void
capi_contents_append_object(StringInfo out, const char *json, int field,
							bool *separate, CapiContentsReport report,
							void *arg)
{
	Writer		w = {out, report, arg, 0, false, false};
	Jsonb	   *parsed = capi_contents_parse(json);
	char		prefix[MAX_REPORTED_NAME_BYTES];

	if (parsed == NULL || !JB_ROOT_IS_OBJECT(parsed))
	{
		report(arg, "", "not a JSON object");
		return;
	}
	snprintf(prefix, sizeof(prefix), "%s.", capi_field_info(field)->name);
	(void) append_known(&w, &parsed->root, capi_member_list(field), prefix,
						separate);
}

char *
capi_contents_scalar(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return numeric_text(v);
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		default:
			return pstrdup("");
	}
}

void
capi_contents_hoist(const char *json, const char *name, CapiValues *values)
{
	Jsonb	   *parsed = capi_contents_parse(json);
	JsonbValue	key = {.type = jbvString};
	JsonbValue *found;

	if (parsed == NULL || !JB_ROOT_IS_OBJECT(parsed))
		return;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	found = findJsonbValueFromContainer(&parsed->root, JB_FOBJECT, &key);
	if (found == NULL || found->type == jbvNull)
		return;
	if (found->type == jbvBinary && JsonContainerIsArray(found->val.binary.data))
	{
		int			n = JsonContainerSize(found->val.binary.data);

		values->v = palloc(sizeof(char *) * (n + 1));
		for (int i = 0; i < n; i++)
			values->v[values->n++] =
				capi_contents_scalar(getIthJsonbValueFromContainer(found->val.binary.data, i));
		values->is_empty_list = n == 0;
		return;
	}
	values->v = palloc(sizeof(char *));
	values->v[0] = capi_contents_scalar(found);
	values->n = 1;
}
