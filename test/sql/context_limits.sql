-- What capi.set_context() keeps is bounded, for one order and for all.  A
-- checkout never fails for it.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
\pset null '-'
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now());
SELECT capi.attach('placed', 'orders', 'main', hold => '1 hour',
                   query => 'SELECT id AS key, created_at AS event_time, 1 AS value, ''EUR'' AS currency, ''a@b.de'' AS em FROM orders');
SET client_min_messages = notice;

-- one order: the same again is no new row, a later word is added to an earlier one
SELECT count(capi.set_context('1', '{"fbp": "fb.1.1558571054389.1098115397"}')) FROM generate_series(1, 50);
SELECT count(capi.set_context('1', '{"fbclid": "IwAR0aBcDeF0123456789"}')) FROM generate_series(1, 50);
SELECT count(capi.set_context('1', jsonb_build_object('event_source_url', 'https://shop.example/page/' || n))) FROM generate_series(1, 50) n;
SELECT count(*) FROM capi.context;
INSERT INTO orders (id) VALUES (1), (2), (3);
SELECT event -> 'user_data' ->> 'fbp' AS fbp, regexp_replace(event -> 'user_data' ->> 'fbc', '\d{13}', 'time') AS fbc,
       event ->> 'event_source_url' AS page FROM capi.preview('placed', '1');

-- consent: the last word, of the source and of all sources
SELECT capi.set_context('2', '{"consent": false}'), capi.set_context('2', '{"client_user_agent": "M"}');
SELECT outcome, reason FROM capi.preview('placed', '2');
SELECT capi.set_context('2', '{"consent": true}');
SELECT outcome, event -> 'user_data' -> 'client_user_agent' AS agent FROM capi.preview('placed', '2');
SELECT capi.set_context('2', '{"consent": false}', 'placed');
SELECT outcome, reason FROM capi.preview('placed', '2');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT capi.set_context('2', '{"consent": true}', 'placed'), capi.set_context('2', '{"referrer_url": "https://a.example/"}', 'placed');
COMMIT;
SELECT outcome, event -> 'user_data' -> 'client_user_agent' AS agent, event ->> 'referrer_url' AS referrer FROM capi.preview('placed', '2');

-- those said while the table was locked are read once, not for each order
BEGIN;
INSERT INTO orders (id) SELECT generate_series(101, 120);
INSERT INTO capi_reserve.consent (key, source_id, said_at, given, writer)
SELECT n::text, 0, now(), false, current_user FROM generate_series(101, 110) n UNION ALL SELECT 'x' || n, 0, now(), false, current_user FROM generate_series(1, 5000) n;
SELECT outcome, reason, count(*) FROM capi.preview('placed', max_rows => 50) WHERE order_key::int > 100 GROUP BY 1, 2 ORDER BY 1;
SELECT seq_tup_read < 20 * 5010 AS "not for each" FROM pg_stat_xact_all_tables WHERE relid = 'capi_reserve.consent'::regclass;
ROLLBACK;
-- of which source it is nobody could tell, and a moment later it could: not of another
BEGIN;
CREATE OR REPLACE FUNCTION capi._source_is_free() RETURNS boolean LANGUAGE sql AS 'SELECT false';
SELECT capi.set_context('2', '{"client_user_agent": "N", "consent": true}', 'placed');
SELECT count(*) FROM capi.context WHERE source_id = 0 AND fields ->> 'client_user_agent' = 'N';
ROLLBACK;

-- values: what is too long is left out, the longest first
SELECT capi.set_context('3', jsonb_build_object('client_user_agent', repeat('ü', 2000), 'event_source_url', 'https://shop.example/' || repeat('x', 3000),
       'fbp', 'fb.1.1558571054389.1098115397', 'referrer_url', 'https://shop.example/' || repeat('y', 5000)));
SELECT jsonb_object_keys(fields) FROM capi.context WHERE key = '3' ORDER BY 1;
SELECT capi.set_context(repeat('ü', 512), '{}'), capi.set_context(repeat('x', 1024), '{}');
SELECT capi.set_context(repeat('ü', 513), '{}');

-- all orders: somebody gives contexts of orders that do not come
TRUNCATE capi.context;
SET capi.context_size = '1MB';
SELECT count(capi.set_context('real ' || n, '{"client_user_agent": "Mozilla/5.0"}')) FROM generate_series(1, 3) n;
SET client_min_messages = error;
SELECT count(capi.set_context('fake ' || n, jsonb_build_object('client_user_agent', repeat(md5(n::text), 20)))) FROM generate_series(1, 3000) n;
SET client_min_messages = notice;
SELECT count(*) BETWEEN 1000 AND 2999 AS "some are kept", pg_relation_size('capi.context') <= 1024 * 1024 AS bounded FROM capi.context;
SELECT capi.set_context('one more', '{"client_user_agent": "Mozilla/5.0"}');
SELECT ok, detail FROM capi.diagnose() WHERE "check" = 'contexts';
-- the dispatcher leaves those of the last hour alone
CALL capi.deliver();
SELECT count(*) BETWEEN 1000 AND 2999 AS "still there" FROM capi.context;
-- an order waits in the backlog, one is not read yet
UPDATE capi.context SET key = '1', set_at = now() - interval '3 hours' WHERE key = 'real 1';
UPDATE capi.context SET key = '4', set_at = now() - interval '3 hours' WHERE key = 'real 2';
UPDATE capi.context SET set_at = now() - interval '30 minutes' WHERE key = 'real 3';
UPDATE capi.context SET set_at = now() - interval '2 hours' + right(key, -5)::int * interval '1 second' WHERE key LIKE 'fake %';
SELECT order_key, status FROM capi.delivery_status ORDER BY order_key;
INSERT INTO orders (id) VALUES (4);
SELECT capi._evict_contexts(512 * 1024) > 500 AS "some are deleted";
SELECT key FROM capi.context WHERE key !~ 'fake' ORDER BY key;
SELECT sum(pg_column_size(c.*)) BETWEEN 400 * 1024 AND 524 * 1024 AS "half is left" FROM capi.context c;
SELECT min(right(key, -5)::int) > 500 AS "the oldest are gone" FROM capi.context WHERE key ~ 'fake';
SELECT capi._evict_contexts(512 * 1024);
-- there is room again, and the table does not grow
VACUUM capi.context;
SELECT ok, detail FROM capi.diagnose() WHERE "check" = 'contexts';
SELECT capi.set_context('one more', '{"client_user_agent": "Mozilla/5.0"}');
SELECT count(*) FROM capi.context WHERE key = 'one more';
-- the dispatcher does the same by itself
UPDATE capi.context SET set_at = now() - interval '2 hours' WHERE key ~ 'fake';
SELECT pg_relation_size('capi.context') AS size \gset
SET client_min_messages = error;
SELECT count(capi.set_context('fake ' || n, jsonb_build_object('client_user_agent', repeat(md5(n::text), 20)))) FROM generate_series(1, 3000) n;
SET client_min_messages = notice;
SELECT (pg_relation_size('capi.context') - :size) / 8192 <= 4 AS bounded;
CALL capi.deliver();
SELECT count(*) FROM capi.context WHERE set_at < now() - interval '1 hour' AND key ~ 'fake';
RESET capi.context_size;

-- so many at once, and no more
TRUNCATE capi.context, capi.consent;
INSERT INTO capi.context (key, source_id, set_at, fields) SELECT n, 0, now() - interval '2 hours', '{}' FROM generate_series(1, 20005) n;
SELECT capi._evict_contexts(0);
INSERT INTO capi.consent (key, source_id, said_at, given) SELECT n, 0, now() - m * interval '1 minute', false FROM generate_series(1, 20005) n, generate_series(1, 2) m;
SELECT capi._tidy_consent(1e9::bigint);
SELECT count(*) FROM capi.consent;
INSERT INTO capi.consent (key, source_id, said_at, given) SELECT n, 0, now() - interval '2 days', true FROM generate_series(30001, 50005) n;
SELECT capi._tidy_consent(1e9::bigint);
SELECT count(*) FROM capi.consent;
UPDATE capi.consent SET said_at = now() - interval '100 days';
SELECT capi._tidy_consent(0);
SELECT count(*) FROM capi.consent;
SELECT capi.detach('placed');
DROP TABLE orders;
DROP EXTENSION capi CASCADE;
CREATE EXTENSION capi;
