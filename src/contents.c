/*
 * contents.c
 *		JSON that a query supplies -> JSON that Meta accepts (contents.h).
 *
 * Reads with the server's jsonb, whose numbers are exact, and works without a
 * transaction like the rest of the pure modules.  Does not judge the event.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "contents.h"
#include "field.h"
#include "normalize.h"
#include "text.h"

/* A name in a report is cut here: users write anything. */
#define MAX_REPORTED_NAME_BYTES		64

/* SPEC 4.1: any other key in an item makes Meta refuse the request. */
typedef struct ItemKey
{
	const char *name;
	CapiFieldForm form;
	bool		bare;
} ItemKey;

static const ItemKey item_keys[] = {
	{"id", CAPI_FORM_TEXT, false},
	{"quantity", CAPI_FORM_INTEGER, true},
	{"item_price", CAPI_FORM_DECIMAL, true},
	{"delivery_category", CAPI_FORM_TEXT, false},
	{"title", CAPI_FORM_TEXT, false},
	{"description", CAPI_FORM_TEXT, false},
	{"brand", CAPI_FORM_TEXT, false},
	{"category", CAPI_FORM_TEXT, false}
};

/* What is being written, and whom to tell of what is not. */
typedef struct Writer
{
	StringInfo	out;
	CapiContentsReport report;
	void	   *arg;
} Writer;

/* The text as jsonb, or NULL if it is no JSON.  Never raises for bad input. */
static Jsonb *
parse_json(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile result = NULL;

	/* jsonb trusts that text is valid in the database's encoding */
	if (!capi_text_is_valid(text, strlen(text)))
		return NULL;
	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													CStringGetDatum(text)));
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

/*
 * Appends a scalar in the given form.  False with the problem if it cannot be;
 * without one if it is null or empty.
 */
static bool
append_scalar(StringInfo out, const JsonbValue *v, const ItemKey *key,
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
			text = numeric_text(v);
			len = strlen(text);
			break;
		default:
			*problem = "neither text nor number";
			return false;
	}
	if (!capi_normalize_form(key->form, text, len, NULL, out, problem))
		return false;
	if (key->bare)
		return true;
	len = out->len - start;
	normal = pnstrdup(out->data + start, len);
	out->len = start;
	capi_text_append_json(out, normal, len);
	pfree(normal);
	return true;
}

static const ItemKey *
find_item_key(const JsonbValue *key)
{
	for (int i = 0; i < (int) lengthof(item_keys); i++)
		if ((int) strlen(item_keys[i].name) == key->val.string.len &&
			memcmp(item_keys[i].name, key->val.string.val,
				   key->val.string.len) == 0)
			return &item_keys[i];
	return NULL;
}

/*
 * Appends one item, with a comma in front if separate.  Without an id it would
 * name no product, and is dropped.
 */
static bool
append_item(Writer *w, JsonbContainer *item, bool separate)
{
	JsonbIterator *it = JsonbIteratorInit(item);
	JsonbValue	key;
	JsonbValue	value;
	JsonbIteratorToken token;
	int			start = w->out->len;
	bool		has_id = false;
	const char *between = "";

	appendStringInfoString(w->out, separate ? ",{" : "{");
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const ItemKey *known;
		const char *problem;
		int			before = w->out->len;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		known = find_item_key(&key);
		if (known == NULL)
		{
			report_key(w, "contents[].", &key, "not known to Meta");
			continue;
		}
		appendStringInfo(w->out, "%s\"%s\":", between, known->name);
		if (!append_scalar(w->out, &value, known, &problem))
		{
			w->out->len = before;
			if (problem != NULL)
				report_key(w, "contents[].", &key, problem);
			continue;
		}
		between = ",";
		has_id |= known == &item_keys[0];
	}
	if (!has_id)
	{
		w->out->len = start;
		w->report(w->arg, "contents[].id", "item without id");
		return false;
	}
	appendStringInfoChar(w->out, '}');
	return true;
}

int
capi_contents_append_items(StringInfo out, const char *json, bool separate,
						   CapiContentsReport report, void *arg)
{
	Writer		w = {out, report, arg};
	Jsonb	   *parsed = parse_json(json);
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;
	int			n = 0;

	if (parsed == NULL || JB_ROOT_IS_SCALAR(parsed))
	{
		report(arg, "contents", "not a JSON array of objects");
		return 0;
	}
	if (JB_ROOT_IS_OBJECT(parsed))
		return append_item(&w, &parsed->root, separate) ? 1 : 0;

	it = JsonbIteratorInit(&parsed->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
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

void
capi_contents_append_members(StringInfo out, const char *json, bool reserve,
							 bool *separate, CapiContentsReport report,
							 void *arg)
{
	Writer		w = {out, report, arg};
	Jsonb	   *parsed = parse_json(json);
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
