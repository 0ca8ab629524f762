-- What capi.send() takes is bounded: the size of an event, the values of a
-- field, the names of events of a dataset.  Each name is a source of its own.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
\pset null '-'
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SELECT capi.create_dataset(name => 'other', dataset_id => '2');
CREATE ROLE regress_web;
SELECT capi.grant_access('regress_web', 'writer');
SET ROLE regress_web;

-- sizes: as it is given, with its numbers written out, as it is sent
CREATE FUNCTION pg_temp.send(custom jsonb, person jsonb = '{"fn": "Ann"}') RETURNS boolean LANGUAGE sql AS $$
    SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'custom_data', custom, 'user_data', person)) > 0
$$;
SELECT pg_temp.send(jsonb_build_object('note', repeat('x', 60000)));
SELECT pg_temp.send(jsonb_build_object('note', repeat('x', 65536)));
SELECT pg_temp.send(jsonb_build_object('note', repeat('x', 20000000)));
SELECT pg_temp.send('{"size": 1e300, "share": 1e-300}');
SELECT pg_temp.send('{"size": 1e100000}');
SELECT pg_temp.send(jsonb_build_object('sizes', (SELECT jsonb_agg(10.0 ^ 300) FROM generate_series(1, 300))));
SELECT pg_temp.send('{"contents": [{"id": "1", "item_price": 1e-16000}, {"id": "2", "item_price": 1e-16000},
                                   {"id": "3", "item_price": 1e-16000}, {"id": "4", "item_price": 1e-16000},
                                   {"id": "5", "item_price": 1e-16000}]}');
SELECT pg_temp.send('{}', jsonb_build_object('em', (SELECT jsonb_agg(n || '@b.de') FROM generate_series(1, 990) n)));
SELECT pg_temp.send(jsonb_build_object('note', repeat(E'\x01', 20000)), '{"em": "ann@example.com"}');

-- lists
SELECT pg_temp.send(jsonb_build_object('content_ids', (SELECT jsonb_agg(n) FROM generate_series(1, 1000) n)));
SELECT pg_temp.send(jsonb_build_object('content_ids', (SELECT jsonb_agg(n) FROM generate_series(1, 1001) n)));
SELECT pg_temp.send('{}', jsonb_build_object('em', (SELECT jsonb_agg('a@b.de'::text) FROM generate_series(1, 1001))));

-- names of events, in one statement, in many transactions, before and after they are sources
SELECT count(capi.send('main', jsonb_build_object('event_name', 'Event ' || n), 'first')) FROM generate_series(1, 100) n;
SELECT count(capi.send('main', jsonb_build_object('event_name', 'Event ' || n), 'first')) FROM generate_series(1, 99) n;
SELECT capi.send('main', '{"event_name": "Event 100"}', 'first');
SELECT count(capi.send('main', jsonb_build_object('event_name', 'Event ' || n), 'second')) FROM generate_series(1, 99) n;
SELECT capi.send('other', '{"event_name": "Event 100"}', 'first') > 0 AS "another dataset has its own";
RESET ROLE;
SELECT count(*), count(DISTINCT source) AS sources FROM capi.delivery_status WHERE source LIKE 'send:main:%' AND order_key IN ('first', 'second');
CALL capi.deliver();
SELECT count(*), count(DISTINCT source) AS sources FROM capi.delivery_status WHERE source LIKE 'send:main:%' AND order_key IN ('first', 'second');
SELECT count(*) FROM capi.source_status WHERE source LIKE 'send:main:%';
SET ROLE regress_web;
SELECT capi.send('main', '{"event_name": "Event 100"}', 'first');
SELECT capi.send('main', '{"event_name": "Event 99"}', 'third') > 0 AS "a known one";
RESET ROLE;

-- a dataset that is dropped and made again goes on where it was, also with a name that was detached
SELECT count(capi.detach(s.source)) FROM capi.source_status s WHERE s.source LIKE 'send:main:%';
SELECT capi.drop_dataset('main');
SELECT capi.send('main', '{"event_name": "Lead"}', 'fourth');
SELECT capi.create_dataset(name => 'main', dataset_id => '3', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SELECT count(capi.send('main', jsonb_build_object('event_name', 'Event 1'), k)) FROM unnest('{first,fourth}'::text[]) k;
CALL capi.deliver();
SELECT source, order_key, dataset, status, reason FROM capi.delivery_status WHERE source = 'send:main:Event 1' ORDER BY order_key;
SELECT source FROM capi.source_status WHERE source LIKE 'send:%' ORDER BY source COLLATE "C";

-- datasets and events whose names together read the same
SELECT capi.create_dataset(name => 'a', dataset_id => '4');
SELECT capi.create_dataset(name => 'a:b', dataset_id => '5');
SELECT capi.send('a', '{"event_name": "b:c"}', 'of a') > 0, capi.send('a:b', '{"event_name": "c"}', 'of a:b') > 0;
CALL capi.deliver();
SELECT order_key, dataset, event_name, regexp_replace(source, ':-\d+$', ':number') AS source FROM capi.delivery_status
 WHERE dataset LIKE 'a%' ORDER BY order_key;
SELECT regexp_replace(source, ':-\d+$', ':number') AS source, dataset FROM capi.source_status WHERE dataset LIKE 'a%' ORDER BY 2;

DROP OWNED BY regress_web;
DROP ROLE regress_web;
DROP EXTENSION capi CASCADE;
CREATE EXTENSION capi;
