\set ECHO none
-- Fields that are made of others (name, fbclid), several values in one text,
-- and what of them reaches the event, through capi.preview.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(53);

CREATE TABLE made (
    key text PRIMARY KEY, at timestamptz DEFAULT '2000-01-01 00:00:00+00',
    em text[], ph text[], fn text, ln text, name text, db text, country text,
    fbc text, fbp text[], fbclid text, fbclid_time text,
    client_ip_address text, value text DEFAULT '9.50',
    currency text DEFAULT 'EUR');

SELECT capi.create_dataset(name := 'made', dataset_id := '1001',
    access_token := 'not-a-token');
-- The events are of now, less an hour: preview says what would happen now.
SELECT capi.attach(source := 'made', table_name := 'made', dataset := 'made',
    query := $$
    SELECT key, now() - interval '1 hour' + (at - '2000-01-01 00:00:00+00') AS event_time,
        em, ph, fn, ln, name, db, country, fbc, fbp, fbclid, fbclid_time,
        client_ip_address, value, currency
    FROM made$$);

CREATE FUNCTION pg_temp.user_data(key text) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT event -> 'user_data' FROM capi.preview(source := 'made', order_key := key) $$;
CREATE FUNCTION pg_temp.event_ms() RETURNS text LANGUAGE sql AS
    $$ SELECT floor(extract(epoch FROM now() - interval '1 hour'))::bigint || '000' $$;
CREATE FUNCTION pg_temp.problems(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT array_to_string(problems, ' ')
       FROM capi.preview(source := 'made', order_key := key) $$;
CREATE FUNCTION pg_temp.hashes(VARIADIC texts text[]) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT jsonb_agg(encode(sha256(convert_to(t, 'UTF8')), 'hex') ORDER BY i)
       FROM unnest(texts) WITH ORDINALITY AS u(t, i) $$;

-- name
INSERT INTO made (key, em, name, fn, ln, country) VALUES
    ('both', '{a@b.de}', 'Dr. Anna Maria Berg', NULL, NULL, NULL),
    ('first', '{a@b.de}', 'Anna Berg', 'Bea', NULL, NULL),
    ('last', '{a@b.de}', 'Anna Berg', NULL, 'Tal', NULL),
    ('given', '{a@b.de}', 'Anna Berg', 'Bea', 'Tal', NULL),
    ('blank', '{a@b.de}', 'Anna Berg', ' ', '', NULL),
    ('one', '{a@b.de}', 'Frau Berg', NULL, NULL, NULL),
    ('hungary', '{a@b.de}', 'Nagy János', NULL, NULL, 'HU'),
    ('no name', '{a@b.de}', 'a@b.de', NULL, NULL, NULL),
    ('only name', NULL, 'Anna Berg', NULL, NULL, NULL);
SELECT is(pg_temp.user_data('both') -> 'fn', pg_temp.hashes('anna'), 'fn of name');
SELECT is(pg_temp.user_data('both') -> 'ln', pg_temp.hashes('berg'), 'ln of name');
SELECT is(pg_temp.user_data('both') -> 'name', NULL, 'name itself is not sent');
SELECT is(pg_temp.user_data('first') -> 'fn', pg_temp.hashes('bea'), 'fn given');
SELECT is(pg_temp.user_data('first') -> 'ln', pg_temp.hashes('berg'), 'ln missing');
SELECT is(pg_temp.user_data('last') -> 'fn', pg_temp.hashes('anna'), 'fn missing');
SELECT is(pg_temp.user_data('last') -> 'ln', pg_temp.hashes('tal'), 'ln given');
SELECT is(pg_temp.user_data('given') -> 'fn', pg_temp.hashes('bea'), 'both given: fn');
SELECT is(pg_temp.user_data('given') -> 'ln', pg_temp.hashes('tal'), 'both given: ln');
SELECT is(pg_temp.user_data('blank') -> 'ln', pg_temp.hashes('berg'), 'a blank ln is none');
SELECT is(pg_temp.user_data('blank') -> 'fn', pg_temp.hashes('anna'), 'a blank fn is none');
SELECT is(pg_temp.user_data('one') -> 'ln', pg_temp.hashes('berg'), 'family name alone');
SELECT is(pg_temp.user_data('one') -> 'fn', NULL, 'and no first name');
SELECT is(pg_temp.user_data('hungary') -> 'fn', pg_temp.hashes('jános'),
    'family name first in Hungary');
SELECT is(pg_temp.user_data('no name') ? 'fn', false, 'no name of a person');
SELECT matches(pg_temp.problems('no name'), 'name.*not the name of a person', 'is named');
SELECT is(pg_temp.user_data('only name') -> 'ln', pg_temp.hashes('berg'),
    'a name alone makes an event');

-- several values in one text
INSERT INTO made (key, em, ph, country) VALUES
    ('several', '{"Anna <a@b.de>; c@d.de, A@B.de","e@f.de"}',
     '{"0171 2345678 / 030 1234567"}', 'DE'),
    ('bad part', '{"a@b.de, x@"}', NULL, NULL),
    ('empty', '{}', '{"0171 2345678"}', 'DE'),
    ('only empty', '{}', '{}', 'DE');
SELECT is(pg_temp.user_data('several') -> 'em', pg_temp.hashes('a@b.de', 'c@d.de', 'e@f.de'),
    'every address, equal ones once');
SELECT is(pg_temp.user_data('several') -> 'ph', pg_temp.hashes('491712345678', '49301234567'),
    'every number');
SELECT is(pg_temp.user_data('bad part') -> 'em', pg_temp.hashes('a@b.de'), 'the good one');
SELECT matches(pg_temp.problems('bad part'), 'em.*not an e-mail address', 'the bad one is named');
SELECT is(pg_temp.user_data('empty') ? 'em', false, 'an empty list is not sent');
SELECT is(outcome || ' ' || reason, 'rejected no_customer_data', 'nor is it customer data')
  FROM capi.preview(source := 'made', order_key := 'only empty');

-- fbclid
INSERT INTO made (key, em, fbc, fbclid, fbclid_time) VALUES
    ('click', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', NULL),
    ('click url', '{a@b.de}', NULL, 'https://shop.example/?a=b&fbclid=IwAR2F4-dbP0&c=d', NULL),
    ('seconds', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', '1554763741'),
    ('milliseconds', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', '1554763741205'),
    ('fraction', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', '1554763741.205'),
    ('timestamp', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', '2019-04-08 22:49:01.205+00'),
    ('bad time', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', 'yesterday evening'),
    ('infinite', '{a@b.de}', NULL, 'IwAR2F4-dbP0l7Mn1Iaw', 'infinity'),
    ('cookie', '{a@b.de}', 'fb.1.1554763741205.AbC', 'IwAR2F4-dbP0l7Mn1Iaw', NULL),
    ('raw in fbc', '{a@b.de}', 'IwAR2F4-dbP0l7Mn1Iaw', NULL, NULL),
    ('url in fbc', '{a@b.de}', 'https://shop.example/?fbclid=IwAR2F4', NULL, NULL),
    ('bad fbc', '{a@b.de}', 'fb.1.IwAR2F4', 'IwAR2F4-dbP0l7Mn1Iaw', NULL),
    ('word in fbc', '{a@b.de}', 'undefined', NULL, NULL),
    ('bad click', '{a@b.de}', NULL, 'a b', NULL),
    ('only click', NULL, NULL, 'IwAR2F4-dbP0l7Mn1Iaw', NULL);
SELECT is(pg_temp.user_data('click') ->> 'fbc',
    'fb.1.' || pg_temp.event_ms() || '.IwAR2F4-dbP0l7Mn1Iaw', 'the time of the event');
SELECT is(pg_temp.user_data('click url') ->> 'fbc',
    'fb.1.' || pg_temp.event_ms() || '.IwAR2F4-dbP0', 'out of a URL');
SELECT is(pg_temp.user_data(key) ->> 'fbc', 'fb.1.' || want || '.IwAR2F4-dbP0l7Mn1Iaw', 'time: ' || key)
  FROM (VALUES ('seconds', '1554763741000'), ('milliseconds', '1554763741205'),
    ('fraction', '1554763741000'), ('timestamp', '1554763741205'),
    ('bad time', pg_temp.event_ms()), ('infinite', pg_temp.event_ms())) AS t(key, want);
SELECT matches(pg_temp.problems('bad time'), 'fbclid_time', 'a time that is none is named');
INSERT INTO made (key, em, fbclid, fbclid_time) SELECT 'time ' || t, '{a@b.de}', 'IwAR2F4-dbP0l7Mn1Iaw', t
    FROM unnest('{1.554763741E9,1.554763741205E12,1554763741205.0,now,yesterday,179500000,17950000000000,9999999999999}'::text[]) AS t;
SELECT is(array_agg(DISTINCT pg_temp.user_data('time ' || t) ->> 'fbc'), '{fb.1.1554763741000.IwAR2F4-dbP0l7Mn1Iaw,fb.1.1554763741205.IwAR2F4-dbP0l7Mn1Iaw}',
    'times that passed through a column of numbers') FROM unnest('{1.554763741E9,1.554763741205E12,1554763741205.0}'::text[]) AS t;
SELECT is(array_agg(DISTINCT pg_temp.user_data('time ' || t) ->> 'fbc'), ARRAY['fb.1.' || pg_temp.event_ms() || '.IwAR2F4-dbP0l7Mn1Iaw'],
    'words, other lengths and days to come are no time of a click') FROM unnest('{now,yesterday,179500000,17950000000000,9999999999999}'::text[]) AS t;
SELECT is(count(*), 5::bigint, 'and named') FROM unnest('{now,yesterday,179500000,17950000000000,9999999999999}'::text[]) AS t
    WHERE pg_temp.problems('time ' || t) LIKE '%fbclid_time%';
SELECT is(pg_temp.user_data('cookie') ->> 'fbc', 'fb.1.1554763741205.AbC', 'the cookie wins');
SELECT is(pg_temp.user_data('raw in fbc') ->> 'fbc',
    'fb.1.' || pg_temp.event_ms() || '.IwAR2F4-dbP0l7Mn1Iaw', 'a click id in fbc');
SELECT is(pg_temp.user_data('url in fbc') ->> 'fbc',
    'fb.1.' || pg_temp.event_ms() || '.IwAR2F4', 'a URL in fbc');
SELECT is(pg_temp.user_data('bad fbc') ->> 'fbc',
    'fb.1.' || pg_temp.event_ms() || '.IwAR2F4-dbP0l7Mn1Iaw', 'a bad fbc is not made good, but the click is known');
SELECT matches(pg_temp.problems('bad fbc'), '"fbc".*not of the form', 'and it is named');
SELECT is(pg_temp.user_data('word in fbc') ? 'fbc', false, 'a word is no click id');
SELECT is(pg_temp.user_data('bad click') ? 'fbc', false, 'nor are two');
SELECT matches(pg_temp.problems('bad click'), 'fbclid.*not a click id', 'which is named');
INSERT INTO made (key, em, fbc, fbclid) VALUES
    ('no fbc', '{a@b.de}', 'undefined', 'https://shop.example/?fbclid=IwAR2F4%2DdbP0l7Mn1Iaw'),
    ('fbc in fbclid', '{a@b.de}', NULL, 'fb.1.1554763741205.AbC'),
    ('cut', '{a@b.de}', NULL, 'https://shop.example/?fbclid=IwAR2F4-dbP0l7Mn1Iaw%3BdbP0'),
    ('no fbclid', '{a@b.de}', NULL, 'null');
SELECT is(pg_temp.user_data('no fbc') ->> 'fbc',
    'fb.1.' || pg_temp.event_ms() || '.IwAR2F4-dbP0l7Mn1Iaw', 'the click where fbc is a word for none');
SELECT matches(pg_temp.problems('no fbc'), '"fbc".*a word for no value', 'which is named');
SELECT is(pg_temp.user_data('fbc in fbclid') ->> 'fbc', 'fb.1.1554763741205.AbC', 'a whole fbc in fbclid');
SELECT is(pg_temp.user_data('cut') ? 'fbc', false, 'a click id is not cut');
SELECT matches(pg_temp.problems('cut'), 'fbclid.*not a click id', 'and named');
SELECT matches(pg_temp.problems('no fbclid'), 'fbclid.*a word for no value', 'a word in fbclid is named');
SELECT is(pg_temp.user_data('only click') ? 'fbclid', false, 'fbclid itself is not sent');

-- scalars and days to come
INSERT INTO made (key, em, fbp, db) VALUES
    ('no fbp', '{a@b.de}', '{}', to_char(now() + interval '2 days', 'YYYYMMDD'));
SELECT is(pg_temp.user_data('no fbp'), jsonb_build_object('em', pg_temp.hashes('a@b.de')),
    'an empty list for a scalar, and a birth to come, are not sent');

-- the same in an event without a table
SELECT capi.send('made', '{"event_name": "Lead", "event_id": "l1",
    "user_data": {"em": "a@b.de", "name": "Anna Berg", "fbclid": "IwAR2F4-dbP0l7Mn1Iaw", "fbclid_time": 1554763700}}');
SELECT is(convert_from(event, 'UTF8')::jsonb -> 'user_data' ->> 'fbc', 'fb.1.1554763700000.IwAR2F4-dbP0l7Mn1Iaw',
    'send: fbc of fbclid') FROM capi.direct_event WHERE key = 'l1';
SELECT is(convert_from(event, 'UTF8')::jsonb -> 'user_data' -> 'fn', pg_temp.hashes('anna'),
    'send: fn of name') FROM capi.direct_event WHERE key = 'l1';

SELECT * FROM finish();
ROLLBACK;
