\set ECHO none
-- Values as shops have them, against the tables of vectors/: field, country,
-- input, normal form, why.
--
-- numbers.tsv: what passed through a column or spreadsheet of numbers.
-- countries.tsv: as the lists of shop systems have them, in many languages.
-- entities.tsv: character references of HTML.
-- browser.tsv: words for no value, click ids in URLs, addresses of proxies.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(10);

CREATE TEMP TABLE shop_value (field text, country text, input text, normalised text, why text);
CREATE FUNCTION pg_temp.wrong() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s: %L is %L, not %L', field, why, input, capi.normalize(field, input, country), normalised)
    FROM shop_value WHERE capi.normalize(field, input, country) IS DISTINCT FROM normalised $$;

\copy shop_value FROM 'vectors/numbers.tsv'
SELECT cmp_ok(count(*), '>', 100::bigint, 'numbers were read') FROM shop_value;
SELECT is_empty('SELECT pg_temp.wrong()', 'numbers');

TRUNCATE shop_value;
\copy shop_value FROM 'vectors/browser.tsv'
SELECT cmp_ok(count(*), '>', 250::bigint, 'what browsers say was read') FROM shop_value;
SELECT is_empty('SELECT pg_temp.wrong()', 'what browsers say');

TRUNCATE shop_value;
\copy shop_value FROM 'vectors/entities.tsv'
SELECT cmp_ok(count(*), '>', 90::bigint, 'references of HTML were read') FROM shop_value;
SELECT is_empty('SELECT pg_temp.wrong()', 'references of HTML');

TRUNCATE shop_value;
\copy shop_value FROM 'vectors/countries.tsv'
SELECT cmp_ok(count(*), '>', 250::bigint, 'countries were read') FROM shop_value;
SELECT is_empty('SELECT pg_temp.wrong()', 'countries');
SELECT is(capi.normalize('ph', '8 (912) 345-67-89', 'Россия'), '79123456789', 'not sent, but a country for telephone numbers');
SELECT is(capi.normalize('ph', '090-1234-5678', '日本'), '819012345678', 'likewise');

SELECT * FROM finish();
ROLLBACK;
