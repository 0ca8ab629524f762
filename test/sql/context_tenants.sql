-- Browser contexts in a database of several shops, whose keys are the same: what
-- a role says of an order is of the sources whose table it may write.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = notice;
\pset null '-'
\pset footer off
\pset format unaligned
CREATE ROLE regress_north;
CREATE ROLE regress_south;
CREATE ROLE regress_north_web;
CREATE ROLE regress_south_web;
CREATE ROLE regress_both_web;
CREATE ROLE regress_idle_web;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_north, regress_south;
SELECT capi.grant_access('regress_north', 'admin'), capi.grant_access('regress_south', 'admin');
SELECT capi.grant_access(r::regrole, 'writer') FROM unnest('{regress_north_web,regress_south_web,regress_both_web,regress_idle_web}'::text[]) r;
SET client_min_messages = error;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SET client_min_messages = notice;

SET SESSION AUTHORIZATION regress_north;
CREATE SCHEMA north;
CREATE TABLE north.orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), state text);
SELECT capi.attach('north', 'north.orders', 'main', on_column => 'state', query => 'SELECT id AS key, created_at AS event_time, 1 AS value, ''EUR'' AS currency, ''a@b.de'' AS em FROM north.orders');

-- one shop alone: whoever may write contexts is of it
SET SESSION AUTHORIZATION regress_idle_web;
SELECT capi.set_context('1', '{"event_source_url": "https://idle.example/"}');
SELECT capi.set_context('1', '{"referrer_url": "https://named.example/"}', 'north');
SET SESSION AUTHORIZATION regress_north;
INSERT INTO north.orders (id) VALUES (1), (2);
SELECT event ->> 'event_source_url' AS page, event ->> 'referrer_url' AS referrer FROM capi.preview('north', '1');

-- two
SET SESSION AUTHORIZATION regress_south;
CREATE SCHEMA south;
CREATE TABLE south.orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), state text);
SELECT capi.attach('south', 'south.orders', 'main', on_column => 'state', query => 'SELECT id AS key, created_at AS event_time, 1 AS value, ''EUR'' AS currency, ''c@d.de'' AS em FROM south.orders');
INSERT INTO south.orders (id) VALUES (1), (2), (3);
-- a column is enough, and so is a role one is a member of
GRANT UPDATE (state) ON south.orders TO regress_south_web;
GRANT UPDATE (state) ON south.orders TO regress_both_web;
SET SESSION AUTHORIZATION regress_north;
GRANT INSERT (id) ON north.orders TO regress_north_web, regress_both_web;
SET SESSION AUTHORIZATION regress_north_web;
SELECT capi.set_context('1', '{"fbp": "fb.1.1558571054389.1111111111", "consent": false}');
SELECT capi.set_context('2', '{"client_ip_address": "203.0.113.1"}');
SET SESSION AUTHORIZATION regress_south_web;
SELECT capi.set_context('1', '{"fbp": "fb.1.1558571054389.2222222222"}');
SELECT capi.set_context('2', '{"client_user_agent": "Mozilla/5.0"}');
SET SESSION AUTHORIZATION regress_both_web;
SELECT capi.set_context('3', '{"fbp": "fb.1.1558571054389.3333333333"}');
-- naming the other's source is of no use, and no error in a checkout
SET SESSION AUTHORIZATION regress_south_web;
SELECT capi.set_context('1', '{"consent": false, "client_ip_address": "203.0.113.66"}', 'north');
SET SESSION AUTHORIZATION regress_idle_web;
SELECT capi.set_context('2', '{"consent": false, "fbc": "fb.1.1558571054389.evil"}');
SELECT capi.set_context('2', '{"consent": false}', 'south');
SET SESSION AUTHORIZATION regress_both_web;
SELECT capi.set_context('3', '{"client_user_agent": "named"}', 'south');

-- preview: each sees what is said of its own
SET SESSION AUTHORIZATION regress_north;
INSERT INTO north.orders (id) VALUES (3);
SELECT order_key, outcome, reason, (event -> 'user_data') - '{em}'::text[] AS browser FROM capi.preview('north') ORDER BY order_key;
SET SESSION AUTHORIZATION regress_south;
SELECT order_key, outcome, reason, (event -> 'user_data') - '{em}'::text[] AS browser FROM capi.preview('south') ORDER BY order_key;
-- pixel_event: null where the customer refused
SELECT capi.pixel_event('south', '1') IS NULL AS refused;
SET SESSION AUTHORIZATION regress_north;
SELECT capi.pixel_event('north', '1') IS NULL AS refused;
-- and however the key is spelled, that of the order
SELECT capi.pixel_event('north', '0001') IS NULL AS refused, capi.pixel_event('north', ' 02') ->> 'event_id' AS event_id;
SELECT outcome, reason, event ->> 'event_id' AS event_id, event -> 'user_data' ->> 'client_ip_address' AS address
  FROM unnest('{0001,002}'::text[]) k, capi.preview('north', k);
-- a query of one's own over keys of others
CREATE TABLE north.bait (id int PRIMARY KEY, created_at timestamptz DEFAULT now());
INSERT INTO north.bait SELECT generate_series(1, 3);
SELECT capi.attach('bait', 'north.bait', 'main', query => 'SELECT id AS key, created_at AS event_time, 1 AS value, ''EUR'' AS currency, ''a@b.de'' AS em FROM north.bait');
SELECT order_key, outcome, (event -> 'user_data') - '{em}'::text[] AS browser FROM capi.preview('bait') ORDER BY order_key;
SELECT capi.detach('bait');

-- sending: the readers fill in the same
UPDATE north.orders SET state = 'paid' WHERE id = 1;
SET SESSION AUTHORIZATION regress_south;
UPDATE south.orders SET state = 'paid' WHERE id = 1;
RESET SESSION AUTHORIZATION;
CALL capi.deliver();
SELECT source, order_key, status, reason FROM capi.delivery_status WHERE status = 'ignored';
SELECT ok, detail, hint FROM capi.diagnose() WHERE "check" = 'contexts';
-- the outcome of one shop's order takes nothing of the other's away
SELECT writer::regrole, source_id, key FROM capi.context WHERE key = '1' ORDER BY writer::regrole::text;

-- nor do its story, its forgetting and its history
SELECT source_name, step, detail FROM capi.explain_event('1') WHERE step IN ('consent', 'context') ORDER BY 1, at;
SELECT capi.forget('2', 'north') > 0 AS forgotten;
SELECT writer::regrole, source_id, key FROM capi.context WHERE key = '2' ORDER BY writer::regrole::text;
SET SESSION AUTHORIZATION regress_south_web;
SELECT capi.set_context('1', '{"consent": false}');
-- when it is not known that keys mean other orders, a refusal stays
SET SESSION AUTHORIZATION regress_north;
SELECT capi.forget_history('north') > 0 AS forgotten;
RESET SESSION AUTHORIZATION;
SELECT key, writer, given FROM capi.consent WHERE key = '1' ORDER BY writer;
INSERT INTO capi.delivery (finished_at, captured_at, source_id, attempts, outcome, key)
SELECT now(), now(), id, 0, 'ignored', '1' FROM capi.source WHERE name = 'north';
UPDATE capi.source SET renumbered_at = clock_timestamp() WHERE name = 'north';
SET SESSION AUTHORIZATION regress_north;
SELECT capi.forget_history('north') > 0 AS forgotten;
RESET SESSION AUTHORIZATION;
SELECT key, writer, given FROM capi.consent WHERE key = '1' ORDER BY writer;
-- a role that is gone: its yes is worth nothing
CREATE ROLE regress_gone_web;
SELECT capi.grant_access('regress_gone_web', 'writer');
SET SESSION AUTHORIZATION regress_south_web;
SELECT capi.set_context('7', '{"consent": false}');
SET SESSION AUTHORIZATION regress_gone_web;
SELECT capi.set_context('7', '{"consent": true}');
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_gone_web;
DROP ROLE regress_gone_web;
SET SESSION AUTHORIZATION regress_south;
INSERT INTO south.orders (id) VALUES (7);
SELECT order_key, outcome, reason FROM capi.preview('south', '7');
-- another table under the other's query
SET SESSION AUTHORIZATION regress_north;
CREATE TABLE north.keys (id int PRIMARY KEY, state text);
SET client_min_messages = error;
RESET SESSION AUTHORIZATION;
DROP TABLE south.orders;
SET SESSION AUTHORIZATION regress_north;
SELECT capi.alter_source('south', table_name => 'north.keys');
RESET SESSION AUTHORIZATION;
SET client_min_messages = notice;

SELECT capi.detach('north'), capi.detach('south');
SELECT capi.drop_dataset('main');
SET client_min_messages = error;
DROP SCHEMA north, south CASCADE;
DROP OWNED BY regress_north, regress_south, regress_north_web, regress_south_web, regress_both_web, regress_idle_web;
DROP ROLE regress_north, regress_south, regress_north_web, regress_south_web, regress_both_web, regress_idle_web;
DROP EXTENSION capi CASCADE;
CREATE EXTENSION capi;
