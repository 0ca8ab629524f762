\set ECHO none
-- Orders with far more values than any order has: a column that was filled by
-- mistake costs a moment, not minutes, is named, and stays within bounds.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(33);

CREATE TABLE huge (
    key text PRIMARY KEY, em text[], ph text[], fn text[], value text[],
    order_id text[], content_ids text[], contents jsonb, custom_data jsonb,
    original jsonb, app_data jsonb);
SELECT capi.create_dataset(name := 'large', dataset_id := '1001',
    access_token := 'not-a-token');
SELECT capi.attach(source := 'large', table_name := 'huge',
    dataset := 'large', query := $$
    SELECT key, now() - interval '1 hour' AS event_time,
        em, ph, fn, coalesce(value, '{1}') AS value, 'EUR' AS currency,
        'u' || key AS external_id, order_id, content_ids, contents,
        custom_data, original AS original_event_data, app_data
    FROM huge$$);

CREATE TABLE seen (order_key text, event jsonb, problems text[]);
-- Several times what the slowest of these takes, far less than what squares.
CREATE FUNCTION pg_temp.look(key text) RETURNS text LANGUAGE plpgsql
    SET statement_timeout = '10s' AS $$
DECLARE
    found text;
BEGIN
    INSERT INTO seen SELECT p.order_key, p.event, p.problems
      FROM capi.preview(source := 'large', order_key := key) p
      RETURNING seen.order_key INTO found;
    RETURN found;
END $$;
CREATE FUNCTION pg_temp.event(key text) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT event FROM seen WHERE order_key = key $$;
CREATE FUNCTION pg_temp.problems(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT array_to_string(problems, ' ') FROM seen WHERE order_key = key $$;
CREATE FUNCTION pg_temp.sha(value text) RETURNS text LANGUAGE sql AS
    $$ SELECT encode(sha256(convert_to(value, 'UTF8')), 'hex') $$;
-- A function's own SET begins no timer: the statement around it must.
SET statement_timeout = '10s';

INSERT INTO huge (key, em, fn) SELECT 'distinct',
    array_agg('a' || i || '@b.de' ORDER BY i), array_agg('n' || i ORDER BY i)
    FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('distinct'), 'distinct', '150,000 addresses of one order');
SELECT is(jsonb_array_length(pg_temp.event('distinct') #> '{user_data,em}'), 100,
    'the first hundred are sent');
SELECT is(pg_temp.event('distinct') #>> '{user_data,em,99}', pg_temp.sha('a100@b.de'),
    'in their order');
SELECT is(pg_temp.problems('distinct'),
    '{"field": "em", "problem": "more than 100 values, 149900 were left out"} '
    '{"field": "fn", "problem": "more than 100 values, 149900 were left out"}',
    'each field is named with the number of those that are not');

INSERT INTO huge (key, em) SELECT 'equal', array_agg('A@b.de'::text) FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('equal'), 'equal', '150,000 equal ones');
SELECT is(pg_temp.event('equal') #> '{user_data,em}',
    jsonb_build_array(pg_temp.sha('a@b.de')), 'are one');

INSERT INTO huge (key, em) SELECT 'bad', array_agg('a' || i) FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('bad'), 'bad', '150,000 that are no addresses');
SELECT is(pg_temp.problems('bad'), '{"field": "em", "problem": "not an e-mail address"} '
    '{"field": "em", "problem": "more than 100 values, 149900 were left out"}',
    'are told of once');

-- Several values in one text
INSERT INTO huge (key, em, ph) SELECT 'texts',
    array_agg((SELECT string_agg(i || 'a' || j || '@b.de', ', ' ORDER BY j) FROM generate_series(1, 150) j)),
    array_agg((SELECT string_agg('+49 171 ' || 2000000 + i * 100 + j, ', ' ORDER BY j) FROM generate_series(1, 99) j))
    FROM generate_series(1, 300) i;
SELECT is(pg_temp.look('texts'), 'texts', '45,000 addresses and numbers in 300 texts');
SELECT is(jsonb_array_length(pg_temp.event('texts') #> '{user_data,em}'), 100, 'addresses count one by one');
SELECT is(jsonb_array_length(pg_temp.event('texts') #> '{user_data,ph}'), 100, 'so do numbers');
SELECT is(pg_temp.problems('texts'),
    '{"field": "em", "problem": "more than 100 values, 300 were left out"} '
    '{"field": "ph", "problem": "more than 100 values, 299 were left out"}', 'of the rest, the texts');

INSERT INTO huge (key, em) SELECT 'hundred', array_agg('a' || i || '@b.de') FROM generate_series(1, 100) i;
SELECT is(pg_temp.look('hundred'), 'hundred', 'just a hundred');
SELECT is(pg_temp.problems('hundred'), '', 'no problem');

-- One value wanted
INSERT INTO huge (key, value, order_id) SELECT 'scalar', array_agg('x' || i), array_agg('o' || i ORDER BY i)
    FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('scalar'), 'scalar', '150,000 where one is wanted');
SELECT ok(length(pg_temp.problems('scalar')) < 1000, 'few words about it');

-- Catalog ids and items
INSERT INTO huge (key, content_ids, contents) SELECT 'items',
    array_agg('id' || i ORDER BY i), jsonb_agg(jsonb_build_object('id', i, 'quantity', 1) ORDER BY i)
    FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('items'), 'items', '150,000 ids and items');
SELECT is(jsonb_array_length(pg_temp.event('items') #> '{custom_data,content_ids}'), 10000, 'ten thousand ids');
SELECT is(jsonb_array_length(pg_temp.event('items') #> '{custom_data,contents}'), 10000, 'ten thousand items');
SELECT is(pg_temp.problems('items'),
    '{"field": "content_ids", "problem": "more than 10000 values, 140000 were left out"} '
    '{"field": "contents", "problem": "more than 10000 items, 140000 were left out"}', 'the others are counted');

INSERT INTO huge (key, contents) SELECT 'unknown',
    jsonb_agg(jsonb_build_object('id', i, 'key' || i, 1)) FROM generate_series(1, 9000) i;
SELECT is(pg_temp.look('unknown'), 'unknown', 'items with 9,000 members that nobody knows');
SELECT is(jsonb_array_length(pg_temp.event('unknown') #> '{custom_data,contents}'), 9000, 'all items are sent');
SELECT ok(length(pg_temp.problems('unknown')) < 10000, 'few words about the members');
SELECT matches(pg_temp.problems('unknown'), 'more problems are not listed', 'and that there are more');

-- Bytes
INSERT INTO huge (key, content_ids) SELECT 'bytes', array_agg(repeat('x', 60000)) FROM generate_series(1, 100) i;
SELECT is(pg_temp.look('bytes'), 'bytes', 'ids of six megabytes');
SELECT ok(octet_length(pg_temp.event('bytes')::text) BETWEEN 900000 AND 1100000, 'one megabyte of a field is sent');

INSERT INTO huge (key, custom_data) SELECT 'members', jsonb_object_agg('key' || i, i)
    FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('members'), 'members', '150,000 free members');
SELECT is(pg_temp.problems('members'), '{"field": "custom_data", "problem": "too long"}', 'more than a megabyte: none');
SELECT ok(pg_temp.event('members') #>> '{custom_data,value}' = '1', 'the rest of it is sent');

INSERT INTO huge (key, original, app_data) SELECT 'objects',
    jsonb_object_agg('key' || i, i), jsonb_object_agg('key' || i, i) FROM generate_series(1, 150000) i;
SELECT is(pg_temp.look('objects'), 'objects', 'objects with 150,000 members that Meta does not know');
SELECT ok(length(pg_temp.problems('objects')) < 10000, 'few words about them');

INSERT INTO huge (key, custom_data) SELECT 'deep', (repeat('[', 5000) || repeat(']', 5000))::jsonb
    FROM (SELECT 1) x;
UPDATE huge SET custom_data = jsonb_build_object('d', custom_data) WHERE key = 'deep';
SELECT is(pg_temp.look('deep'), 'deep', 'an object 5,000 deep');
SELECT is(pg_temp.problems('deep'), '', 'is sent as it is');

SELECT * FROM finish();
ROLLBACK;
