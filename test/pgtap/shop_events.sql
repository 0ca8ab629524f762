\set ECHO none
-- Orders with values as shops have them, through capi.preview: numbers of any
-- type, amounts below zero, and what is named among the problems.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(34);

CREATE TABLE sold (
    key text PRIMARY KEY, em text DEFAULT 'a@b.de', country text DEFAULT 'DE',
    event_name text DEFAULT 'Purchase', value text DEFAULT '9.50', currency text DEFAULT 'EUR',
    ph_numeric numeric(20,2), ph_float float8, ph_real real, zp_numeric numeric(8,1), zp_real real,
    external_id float8, order_id numeric(12,2), contents jsonb, fbp text);
SELECT capi.create_dataset(name := 'main', dataset_id := '1001', access_token := 'not-a-token');
SELECT capi.attach(source := 'sold', table_name := 'sold', dataset := 'main', query := $$
    SELECT key, now() AS event_time, event_name, em, country, value, currency,
        coalesce(ph_numeric::text, ph_float::text, ph_real::text) AS ph,
        coalesce(zp_numeric::text, zp_real::text) AS zp, external_id, order_id, contents, fbp
    FROM sold$$);
CREATE FUNCTION pg_temp.event(key text) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT event FROM capi.preview(source := 'sold', order_key := key) $$;
CREATE FUNCTION pg_temp.problems(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT array_to_string(problems, ' ') FROM capi.preview(source := 'sold', order_key := key) $$;
CREATE FUNCTION pg_temp.sent(key text, field text) RETURNS text LANGUAGE sql AS
    $$ SELECT event -> 'user_data' -> field ->> 0 FROM capi.preview(source := 'sold', order_key := key) $$;
CREATE FUNCTION pg_temp.sha(value text) RETURNS text LANGUAGE sql AS
    $$ SELECT encode(sha256(convert_to(value, 'UTF8')), 'hex') $$;

-- Columns of numbers
INSERT INTO sold (key, ph_numeric, zp_numeric, external_id, order_id, contents) VALUES
    ('numeric', 1712345678, 1067, 12345, 1001, '[{"id": 1001.0, "quantity": 2.0}, {"id": "4.00638E+12"}]');
SELECT is(pg_temp.sent('numeric', 'ph'), pg_temp.sha('491712345678'), 'a telephone number that is numeric');
SELECT is(pg_temp.sent('numeric', 'zp'), pg_temp.sha('01067'), 'a postcode that is');
SELECT is(pg_temp.sent('numeric', 'external_id'), pg_temp.sha('12345'), 'an id that is a float8');
SELECT is(pg_temp.event('numeric') -> 'custom_data' ->> 'order_id', '1001', 'the order''s number');
SELECT is(pg_temp.event('numeric') -> 'custom_data' -> 'contents', '[{"id": "1001", "quantity": 2}]', 'and in contents');
SELECT matches(pg_temp.problems('numeric'), 'contents\[\]\.id.*lost digits', 'an id that lost digits is named');
INSERT INTO sold (key, ph_float, zp_real) VALUES ('float', 1712345678, 1067), ('huge', 4.9171e15, 10115);
SELECT is(pg_temp.sent('float', 'ph'), pg_temp.sha('491712345678'), 'a telephone number that is float8');
SELECT is(pg_temp.sent('float', 'zp'), pg_temp.sha('01067'), 'a postcode that is float4');
INSERT INTO sold (key, ph_real) VALUES ('real', 1712345678);
SELECT is(pg_temp.sent('real', 'ph'), NULL, 'float4 does not hold a telephone number');
SELECT matches(pg_temp.problems('real'), '"ph".*lost digits', 'which is named');

INSERT INTO sold (key, contents) VALUES ('json null', 'null');
SELECT is(pg_temp.problems('json null'), '', 'null of JSON is no value');

-- Below zero: sent, because the documentation is silent, and named
INSERT INTO sold (key, value) VALUES ('refund', '-12.50'), ('zero', '-0.00');
SELECT is(pg_temp.event('refund') -> 'custom_data' ->> 'value', '-12.5', 'a negative purchase is sent');
SELECT matches(pg_temp.problems('refund'), '"value".*negative.*ignore_reason', 'and named, with the way to leave it out');
SELECT is(pg_temp.problems('zero'), '', 'zero is not negative');
INSERT INTO sold (key, value, event_name) VALUES ('credit', '-1', 'Refund');
SELECT is(pg_temp.problems('credit'), '', 'nor is an event of another name a purchase');
SELECT is(pg_temp.event('credit') -> 'custom_data' ->> 'value', '-1', 'which is sent as it is');

-- What the browser said where the order has a word for nothing
INSERT INTO sold (key, fbp) VALUES ('undefined', 'undefined'), ('alone', '[object Object]');
SELECT capi.set_context('undefined', '{"fbp": "fb.1.1558571054389.1098115397"}');
SELECT is(pg_temp.event('undefined') -> 'user_data' ->> 'fbp', 'fb.1.1558571054389.1098115397', 'a context fills it');
SELECT matches(pg_temp.problems('alone'), '"fbp".*a word for no value', 'without one it is named');

-- Clicks told by the browser
SELECT capi.set_context(key, context) FROM (VALUES ('u1', '{"fbclid": "https://shop.example/?fbclid=IwAR2F4%2DdbP0l7Mn1Iaw&a=b"}'::jsonb),
    ('u2', '{"fbc": "undefined", "fbclid": "IwAR2F4-dbP0l7Mn1Iaw"}'), ('u3', '{"fbclid": "short"}'), ('u4', '{"fbclid": "IwAR2F4-dbP0l7Mn1Iaw%3B12"}'),
    ('u5', '{"fbclid": "fb.1.1554763741205.AbC"}'), ('u6', '{"fbc": "?fbclid=IwAR2F4-dbP0l7Mn1Iaw", "fbp": "null"}')) AS c (key, context);
INSERT INTO sold (key) VALUES ('u1'), ('u2'), ('u3'), ('u4'), ('u5'), ('u6');
SELECT is(substring(pg_temp.event(key) -> 'user_data' ->> 'fbc' FROM '^fb\.1\.\d{13}\.(.*)$'), click, 'a click told by the browser: ' || key)
  FROM (VALUES ('u1', 'IwAR2F4-dbP0l7Mn1Iaw'), ('u2', 'IwAR2F4-dbP0l7Mn1Iaw'), ('u3', NULL), ('u4', NULL), ('u5', 'AbC'),
        ('u6', 'IwAR2F4-dbP0l7Mn1Iaw')) AS v (key, click);

-- Lists in one text: field, text, what is sent, what is named, why
CREATE TABLE listed (key int GENERATED ALWAYS AS IDENTITY, field text, input text, sent jsonb, problem text, why text);
\copy listed (field, input, sent, problem, why) FROM 'vectors/lists.tsv'
SELECT cmp_ok(count(*), '>', 40::bigint, 'lists were read') FROM listed;
SELECT capi.attach(source := 'listed', table_name := 'listed', dataset := 'main', key_columns := '{key}', query := $$
    SELECT key, now() AS event_time, 1 AS value, 'EUR' AS currency, '203.0.113.9' AS client_ip_address,
        CASE field WHEN 'em' THEN input END AS em, CASE field WHEN 'ph' THEN input END AS ph,
        CASE field WHEN 'fn' THEN input END AS fn, CASE field WHEN 'zp' THEN input END AS zp,
        CASE field WHEN 'external_id' THEN input END AS external_id,
        CASE field WHEN 'content_ids' THEN input END AS content_ids,
        CASE field WHEN 'country' THEN input WHEN 'ph' THEN '["DE"]' END AS country
    FROM listed$$);
CREATE FUNCTION pg_temp.list(event jsonb, field text, plain jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT coalesce(event -> 'custom_data' -> field, CASE WHEN event -> 'user_data' -> field =
        (SELECT jsonb_agg(pg_temp.sha(v) ORDER BY n) FROM jsonb_array_elements_text(plain) WITH ORDINALITY AS t(v, n))
        THEN plain ELSE event -> 'user_data' -> field END) $$;
SELECT is_empty($$SELECT l.field, l.input, l.why, l.sent, p.event, p.problems
    FROM listed AS l, capi.preview(source := 'listed', order_key := l.key::text) AS p
    WHERE pg_temp.list(p.event, l.field, l.sent) IS DISTINCT FROM l.sent
    OR strpos(array_to_string(p.problems, ' '), coalesce(l.problem, '')) = 0 OR (l.problem IS NULL AND p.problems <> '{}')$$,
    'lists in one text');
SELECT is_empty($$SELECT field, input, why, capi.normalize(field, input, 'DE') FROM listed
    WHERE capi.normalize(field, input, 'DE') IS DISTINCT FROM sent ->> 0$$, 'the first of each by normalize()');
-- the same as a column of JSON
CREATE TABLE nested (key int PRIMARY KEY, content_ids jsonb, contents text);
INSERT INTO nested VALUES (1, '["A", {"id": "B"}, ["C"]]', '"[{\"id\": 12.0}]"');
SELECT capi.attach(source := 'nested', table_name := 'nested', dataset := 'main', query := $$
    SELECT key, now() AS event_time, 1 AS value, 'EUR' AS currency, 'a@b.de' AS em, content_ids, contents FROM nested$$);
SELECT is(event -> 'custom_data' -> 'content_ids', '["A", "B", "C"]', 'jsonb, with objects and lists in it') FROM capi.preview('nested');
SELECT is(event -> 'custom_data' -> 'contents', '[{"id": "12"}]', 'contents encoded twice') FROM capi.preview('nested');

-- A country that nobody knows
INSERT INTO sold (key, country, ph_numeric) VALUES ('atlantis', 'Atlantis', 1712345678), ('none', NULL, 1712345678),
    ('bracket', 'Germany (DE)', 1712345678);
SELECT is(pg_temp.sent('bracket', 'ph'), pg_temp.sha('491712345678'), 'a country with its code gives the calling code');
SELECT matches(pg_temp.problems('atlantis'), '"country".*known name', 'an unknown country is named');
SELECT matches(pg_temp.problems('atlantis'), '"ph".*country was not recognised', 'and that the number lacks its calling code');
SELECT is(pg_temp.problems('none'), '', 'without a country there is nothing to recognise');
DELETE FROM sold WHERE key <> 'atlantis';
SELECT is(problem, 'the country was not recognised, so no calling code was added', 'match_quality says so')
  FROM capi.match_quality('sold') WHERE field = 'ph';

SELECT * FROM finish();
ROLLBACK;
