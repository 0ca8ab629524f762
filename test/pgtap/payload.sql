\set ECHO none
-- From a source's row to the event that would be sent, through capi.preview:
-- which fields are left out and named, and which events are refused because
-- Meta would refuse them.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(57);

CREATE TABLE sold (
    key text PRIMARY KEY, at timestamptz DEFAULT now() - interval '1 hour',
    event_name text DEFAULT 'Purchase', action_source text DEFAULT 'website',
    em text[], ph text[], fn text, ln text, ge text, db text, ct text, st text,
    zp text, country text, external_id text, client_ip_address text,
    client_user_agent text, fbc text, fbp text, value text DEFAULT '9.50',
    currency text DEFAULT 'EUR', order_id text, content_ids text[],
    contents jsonb, num_items text, event_source_url text, opt_out boolean,
    data_processing_options text[], custom_data jsonb);

SELECT capi.create_dataset(name := 'payload', dataset_id := '1001',
    access_token := 'not-a-token');
SELECT capi.attach(source := 'payload', table_name := 'sold',
    dataset := 'payload', query := $$
    SELECT key, at AS event_time, event_name, action_source, em, ph, fn, ln,
        ge, db, ct, st, zp, country, external_id, client_ip_address,
        client_user_agent, fbc, fbp, value, currency, order_id, content_ids,
        contents, num_items, event_source_url, opt_out,
        data_processing_options, custom_data
    FROM sold$$);

CREATE FUNCTION pg_temp.event(key text) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT event FROM capi.preview(source := 'payload', order_key := key) $$;
CREATE FUNCTION pg_temp.problems(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT array_to_string(problems, ' ')
       FROM capi.preview(source := 'payload', order_key := key) $$;
CREATE FUNCTION pg_temp.verdict(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT outcome || ' ' || reason
       FROM capi.preview(source := 'payload', order_key := key) $$;
CREATE FUNCTION pg_temp.sha(value text) RETURNS text LANGUAGE sql AS
    $$ SELECT encode(sha256(convert_to(value, 'UTF8')), 'hex') $$;

-- A whole order
INSERT INTO sold (key, em, ph, fn, ln, ge, db, ct, st, zp, country, external_id,
    client_ip_address, client_user_agent, fbc, fbp, value, currency, order_id,
    content_ids, contents, num_items, event_source_url, opt_out, custom_data)
VALUES ('whole', '{A@b.de," a@B.de ","",NULL,c@d.de}', '{0171 2345678}', 'Jörg',
    'Müßig', 'Male', '1990-02-03', 'Bad Ems', 'Hessen', '80331', 'DE', 'U-1',
    '203.0.113.7', E'Mozilla "5"\t\\', 'fb.1.1554763741205.AbC-_d',
    'fb.1.1558571054389.1098115397', '64.8000000000000000', 'eur', '1001',
    '{a,b}', '[{"id": 1, "quantity": 2, "item_price": 0.00}]', '3',
    'https://shop.example/x', true, '{"gift": true, "n": 1.50, "a": [1, {}]}');
SELECT is(pg_temp.event('whole') -> 'user_data' -> 'em',
    jsonb_build_array(pg_temp.sha('a@b.de'), pg_temp.sha('c@d.de')),
    'a list, equal ones once, empty ones not at all');
SELECT is(pg_temp.event('whole') -> 'user_data' -> field,
    jsonb_build_array(pg_temp.sha(want)), field || ' is a hashed list')
  FROM (VALUES ('ph', '491712345678'), ('fn', 'jörg'), ('ln', 'müßig'),
    ('ge', 'm'), ('db', '19900203'), ('ct', 'badems'), ('st', 'hessen'),
    ('zp', '80331'), ('country', 'de'), ('external_id', 'u-1')) AS t(field, want);
SELECT is(pg_temp.event('whole') -> 'user_data' ->> field, want, field || ' is as it was')
  FROM (VALUES ('client_ip_address', '203.0.113.7'),
    ('client_user_agent', E'Mozilla "5"\t\\'),
    ('fbc', 'fb.1.1554763741205.AbC-_d'),
    ('fbp', 'fb.1.1558571054389.1098115397')) AS t(field, want);
SELECT is(pg_temp.event('whole') -> 'custom_data',
    '{"value": 64.8, "currency": "EUR", "order_id": "1001", "num_items": 3,
      "content_ids": ["a", "b"], "gift": true, "n": 1.50, "a": [1, {}],
      "contents": [{"id": "1", "quantity": 2, "item_price": 0}]}',
    'custom_data with its free properties');
SELECT is(pg_temp.event('whole') -> 'custom_data' ->> 'value', '64.8',
    'the value without trailing zeros');
SELECT is(pg_temp.event('whole') ->> 'event_source_url',
    'https://shop.example/x', 'the URL');
SELECT is(pg_temp.event('whole') -> 'opt_out', 'true', 'a boolean');
SELECT is(pg_temp.event('whole') ->> 'event_id', 'whole', 'the key is the id');
SELECT is(pg_temp.event('whole') -> 'event_time',
    to_jsonb(floor(extract(epoch FROM now() - interval '1 hour'))::bigint),
    'seconds since 1970');
SELECT is(pg_temp.problems('whole'), '', 'nothing to complain about');

-- Fields that cannot be used are left out and named, never with their value
INSERT INTO sold (key, em, fn, ph, db, client_ip_address, fbc, event_source_url,
    contents, custom_data)
VALUES ('odd', '{a@b.de,secretive}', '---', '{n/a}', '20980101', 'secretive',
    'secretive', 'secretive',
    '[{"id": "x", "name": "secretive", "quantity": 1.5}, {"quantity": 1}, 5]',
    '{"currency": "secretive", "free": 1}');
SELECT isnt(pg_temp.event('odd'), NULL, 'the event is sent all the same');
SELECT is(pg_temp.event('odd') -> 'user_data',
    jsonb_build_object('em', jsonb_build_array(pg_temp.sha('a@b.de'))),
    'what can be used is');
SELECT is(pg_temp.event('odd') -> 'custom_data',
    '{"value": 9.50, "currency": "EUR", "free": 1, "contents": [{"id": "x"}]}',
    'also within contents, and the column wins over custom_data');
SELECT ok(pg_temp.event('odd') ->> 'event_source_url' IS NULL, 'no bad URL');
SELECT ok(strpos(pg_temp.problems('odd'), field) > 0, field || ' is named')
  FROM unnest('{em,fn,ph,db,client_ip_address,fbc,event_source_url}'::text[]
    || '{contents[].name,contents[].quantity,contents[].id,custom_data.currency}'::text[]
    ) AS field;
SELECT ok(pg_temp.problems('odd') !~ 'secretive', 'no value is');

-- What Meta would refuse
INSERT INTO sold (key, em, value, currency, event_name, at, action_source) VALUES
    ('no value', '{a@b.de}', NULL, 'EUR', 'Purchase', now(), 'website'),
    ('bad value', '{a@b.de}', 'NaN', 'EUR', 'Purchase', now(), 'website'),
    ('no currency', '{a@b.de}', '1', NULL, 'Purchase', now(), 'website'),
    ('bad currency', '{a@b.de}', '1', 'BTC', 'Purchase', now(), 'website'),
    ('lead', '{a@b.de}', '1', NULL, 'Lead', now(), 'website'),
    ('future', '{a@b.de}', '1', 'EUR', 'Purchase', now() + interval '1 hour', 'website'),
    ('old', '{a@b.de}', '1', 'EUR', 'Purchase', now() - interval '8 days', 'website'),
    ('old store', '{a@b.de}', '1', 'EUR', 'Purchase', now() - interval '63 days', 'physical_store'),
    ('nobody', NULL, '1', 'EUR', 'Purchase', now(), 'website');
SELECT is(pg_temp.verdict(key), want, 'refused: ' || key)
  FROM (VALUES ('no value', 'rejected no_value'),
    ('bad value', 'rejected no_value'), ('no currency', 'rejected no_currency'),
    ('bad currency', 'rejected no_currency'), ('lead', 'rejected no_currency'),
    ('future', 'held in_the_future'), ('old', 'expired too_old'),
    ('old store', 'expired too_old'), ('nobody', 'rejected no_customer_data')
    ) AS t(key, want);

-- What it would not
INSERT INTO sold (key, em, value, currency, event_name, at, action_source, fn, ln) VALUES
    ('free', '{a@b.de}', '0', 'EUR', 'Purchase', now(), 'website', NULL, NULL),
    ('plain lead', '{a@b.de}', NULL, NULL, 'Lead', now(), 'website', NULL, NULL),
    ('store', '{a@b.de}', '1', 'EUR', 'Purchase', now() - interval '61 days', 'physical_store', NULL, NULL),
    ('names', NULL, '1', 'EUR', 'Purchase', now(), 'website', 'Ann', 'Lee');
SELECT isnt(pg_temp.event(key), NULL, 'sent: ' || key)
  FROM unnest('{free,plain lead,store,names}'::text[]) AS key;

-- Sets that are too little together (SPEC 3.1)
INSERT INTO sold (key, fn, ge, ct, zp, country, client_user_agent, db) VALUES
    ('name and gender', 'Ann', 'f', NULL, NULL, NULL, NULL, NULL),
    ('address', NULL, NULL, 'Bonn', '53111', 'DE', 'Mozilla', NULL),
    ('birthday', NULL, NULL, NULL, NULL, NULL, 'Mozilla', '19900203');
SELECT is(pg_temp.verdict(key), 'rejected no_customer_data', 'too little: ' || key)
  FROM unnest('{name and gender,address,birthday}'::text[]) AS key;

INSERT INTO sold (key, em, data_processing_options)
VALUES ('limited', '{a@b.de}', '{LDU}');
SELECT is(pg_temp.event('limited') -> field, want, 'limited data use: ' || field)
  FROM (VALUES ('data_processing_options', '["LDU"]'::jsonb),
    ('data_processing_options_country', '0'),
    ('data_processing_options_state', '0')) AS t(field, want);

SELECT * FROM finish();
ROLLBACK;
