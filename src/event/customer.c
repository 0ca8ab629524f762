/*
 * customer.c
 *		From raw values to the hashes of one customer (customer.h).
 *
 * A list has one place for each key, so of several values the first usable one
 * counts.  Values that already are hashes pass, except dates: three are made of
 * one, and nobody can part a hash.
 */
#include "postgres.h"

#include "event/complete.h"
#include "event/customer.h"
#include "event/field.h"
#include "event/hash.h"
#include "event/normalize.h"

/* A normalised date of birth: YYYYMMDD. */
#define DATE_LEN	8

const char *const capi_cell_names[CAPI_CELL_COUNT] = {
	[CAPI_CELL_EMAIL] = "EMAIL",
	[CAPI_CELL_PHONE] = "PHONE",
	[CAPI_CELL_FN] = "FN",
	[CAPI_CELL_LN] = "LN",
	[CAPI_CELL_GEN] = "GEN",
	[CAPI_CELL_DOBY] = "DOBY",
	[CAPI_CELL_DOBM] = "DOBM",
	[CAPI_CELL_DOBD] = "DOBD",
	[CAPI_CELL_CT] = "CT",
	[CAPI_CELL_ST] = "ST",
	[CAPI_CELL_ZIP] = "ZIP",
	[CAPI_CELL_COUNTRY] = "COUNTRY",
	[CAPI_CELL_EXTERN_ID] = "EXTERN_ID",
};

/* Fields that become one cell; the date of birth is apart. */
static const struct
{
	CapiField	field;
	CapiCell	cell;
}			simple[] = {
	{CAPI_FIELD_EM, CAPI_CELL_EMAIL},
	{CAPI_FIELD_PH, CAPI_CELL_PHONE},
	{CAPI_FIELD_FN, CAPI_CELL_FN},
	{CAPI_FIELD_LN, CAPI_CELL_LN},
	{CAPI_FIELD_GE, CAPI_CELL_GEN},
	{CAPI_FIELD_CT, CAPI_CELL_CT},
	{CAPI_FIELD_ST, CAPI_CELL_ST},
	{CAPI_FIELD_ZP, CAPI_CELL_ZIP},
	{CAPI_FIELD_COUNTRY, CAPI_CELL_COUNTRY},
	{CAPI_FIELD_EXTERNAL_ID, CAPI_CELL_EXTERN_ID},
};

#define DATE_CELLS	(CAPI_CELL_BIT(CAPI_CELL_DOBY) | CAPI_CELL_BIT(CAPI_CELL_DOBM) | CAPI_CELL_BIT(CAPI_CELL_DOBD))
#define NAME_CELLS	(CAPI_CELL_BIT(CAPI_CELL_FN) | CAPI_CELL_BIT(CAPI_CELL_LN))
#define GENDER		CAPI_CELL_BIT(CAPI_CELL_GEN)
#define PLACE_CELLS \
	(CAPI_CELL_BIT(CAPI_CELL_CT) | CAPI_CELL_BIT(CAPI_CELL_COUNTRY) | \
	 CAPI_CELL_BIT(CAPI_CELL_ST) | CAPI_CELL_BIT(CAPI_CELL_ZIP))

int
capi_customer_cells(int field)
{
	if (field == CAPI_FIELD_DB)
		return DATE_CELLS;
	if (field == CAPI_FIELD_NAME)
		return NAME_CELLS;
	for (size_t i = 0; i < lengthof(simple); i++)
		if ((int) simple[i].field == field)
			return CAPI_CELL_BIT(simple[i].cell);
	return 0;
}

bool
capi_customer_is_enough(int present)
{
	const int	too_little[] = {
		PLACE_CELLS | GENDER,
		DATE_CELLS,
		CAPI_CELL_BIT(CAPI_CELL_FN) | GENDER,
		CAPI_CELL_BIT(CAPI_CELL_LN) | GENDER,
	};

	for (size_t i = 0; i < lengthof(too_little); i++)
		if ((present & ~too_little[i]) == 0)
			return false;
	return true;
}

static int
hex_value(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void
set_hash(CapiCustomer *customer, CapiCell cell, const char *hex)
{
	for (int i = 0; i < CAPI_CELL_BYTES; i++)
		customer->cells[cell][i] = hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]);
	customer->present |= CAPI_CELL_BIT(cell);
}

static void
set_text(CapiCustomer *customer, CapiCell cell, const char *text, int len)
{
	char		hex[CAPI_HASH_HEX_LEN];

	if (!capi_hash_recognise(text, len, hex))
		capi_hash_hex(text, len, hex);
	set_hash(customer, cell, hex);
}

/*
 * Normal form of the first usable value of the field; false if there is none.
 */
static bool
first_usable(const CapiEvent *values, int field, const char *country,
			 StringInfo normal, CapiContentsReport report, void *arg)
{
	const CapiValues *given = &values->values[field];
	const char *name = capi_field_info(field)->name;

	if (given->is_too_long)
		report(arg, name, "too long");
	for (int i = 0; i < given->n; i++)
	{
		const char *rest = given->v[i];

		do
		{
			const char *problem = NULL;
			bool		usable;

			resetStringInfo(normal);
			usable = capi_normalize_next(field, &rest, country, normal, &problem);
			if (problem != NULL)
				report(arg, name, problem);
			if (usable)
				return true;
		} while (*rest != '\0');
	}
	return false;
}

static void
hash_date(const CapiEvent *values, StringInfo normal, CapiCustomer *customer,
		  CapiContentsReport report, void *arg)
{
	if (!first_usable(values, CAPI_FIELD_DB, NULL, normal, report, arg))
		return;
	if (normal->len != DATE_LEN)
	{
		report(arg, "db", "a hash, of which year, month and day cannot be told");
		return;
	}
	set_text(customer, CAPI_CELL_DOBY, normal->data, 4);
	set_text(customer, CAPI_CELL_DOBM, normal->data + 4, 2);
	set_text(customer, CAPI_CELL_DOBD, normal->data + 6, 2);
}

/* CapiContentsReport of what is reported when its turn comes. */
static void
say_nothing(void *arg, const char *where, const char *problem)
{
}

void
capi_customer_hash(CapiEvent *values, CapiCustomer *customer,
				   CapiContentsReport report, void *arg)
{
	StringInfoData normal;
	char	   *country = NULL;

	memset(customer, 0, sizeof(*customer));
	initStringInfo(&normal);
	if (first_usable(values, CAPI_FIELD_COUNTRY, NULL, &normal, say_nothing, NULL) &&
		normal.len == 2)
		country = pstrdup(normal.data);
	capi_complete_event(values, country, report, arg);
	for (size_t i = 0; i < lengthof(simple); i++)
		if (first_usable(values, simple[i].field, country, &normal, report, arg))
			set_text(customer, simple[i].cell, normal.data, normal.len);
	hash_date(values, &normal, customer, report, arg);
}

int
capi_customer_pack(const CapiCustomer *customer, uint8 *packed)
{
	int			len = 2;

	packed[0] = customer->present >> 8;
	packed[1] = customer->present & 0xFF;
	for (int cell = 0; cell < CAPI_CELL_COUNT; cell++)
	{
		if ((customer->present & CAPI_CELL_BIT(cell)) == 0)
			continue;
		memcpy(packed + len, customer->cells[cell], CAPI_CELL_BYTES);
		len += CAPI_CELL_BYTES;
	}
	return len;
}

bool
capi_customer_unpack(const uint8 *packed, int len, CapiCustomer *customer)
{
	int			at = 2;

	memset(customer, 0, sizeof(*customer));
	if (len < 2)
		return false;
	customer->present = packed[0] << 8 | packed[1];
	for (int cell = 0; cell < CAPI_CELL_COUNT; cell++)
	{
		if ((customer->present & CAPI_CELL_BIT(cell)) == 0)
			continue;
		if (at + CAPI_CELL_BYTES > len)
			return false;
		memcpy(customer->cells[cell], packed + at, CAPI_CELL_BYTES);
		at += CAPI_CELL_BYTES;
	}
	return at == len && customer->present < CAPI_CELL_BIT(CAPI_CELL_COUNT);
}
