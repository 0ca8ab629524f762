-- Audiences: what is refused when one is made, and who may do what.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
\pset null '-'
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
CREATE ROLE regress_owner;
SELECT capi.grant_access('regress_owner', 'admin');
CREATE SCHEMA regress_people AUTHORIZATION regress_owner;
SET ROLE regress_owner;
SET search_path = regress_people;
CREATE TABLE customers (id int PRIMARY KEY, email text, agreed boolean, city text);
CREATE FUNCTION pg_temp.create_audience(query text, refresh interval = '1 day', id text = '42') RETURNS void
    LANGUAGE sql AS $$ SELECT capi.create_audience('buyers', 'main', id, query, refresh) $$;
\set SHOW_CONTEXT never

-- the query
SELECT pg_temp.create_audience('SELECT email AS em FROM customers');
SELECT pg_temp.create_audience('SELECT email AS em, city AS consent FROM customers');
SELECT pg_temp.create_audience('SELECT city AS ct, agreed AS consent FROM customers');
SELECT pg_temp.create_audience('SELECT email AS em, email AS em, agreed AS consent FROM customers');
SELECT pg_temp.create_audience('SELECT email AS em, agreed AS consent, id AS order_id FROM customers');
SELECT pg_temp.create_audience('SELECT mail AS em, agreed AS consent FROM customers');
SELECT pg_temp.create_audience('DELETE FROM customers RETURNING email AS em, true AS consent');
SELECT pg_temp.create_audience('SELECT rolname AS external_id, true AS consent FROM pg_authid');

-- the rest
SELECT pg_temp.create_audience('SELECT email AS em, agreed AS consent FROM customers', '10 seconds');
SELECT pg_temp.create_audience('SELECT email AS em, agreed AS consent FROM customers', id => 'my list');
SELECT pg_temp.create_audience(NULL);
SELECT capi.create_audience('', 'main', '42', 'SELECT 1');
SELECT capi.create_audience('buyers', 'man', '42', 'SELECT 1');
SELECT capi.drop_audience('buyers');

-- one that is right
SELECT pg_temp.create_audience('SELECT id AS key, email AS em, agreed AS consent FROM customers');
SELECT pg_temp.create_audience('SELECT email AS em, agreed AS consent FROM customers');
SELECT capi.refresh_audience('buyer');
SELECT capi.alter_audience('buyers', query => 'SELECT 1 AS em');
SELECT capi.alter_audience('buyers', refresh => '1 year');
SELECT capi.alter_audience('buyers', refresh => '2 hours');
SELECT capi.pause_audience('buyers');
SELECT audience, dataset, audience_id, state, reason, members, waiting FROM capi.audience_status;
SELECT capi.resume_audience('buyers');
SELECT state, reason FROM capi.audience_status;
SELECT capi.drop_dataset('main');
-- the shop migrates as it likes (P2)
ALTER TABLE customers RENAME COLUMN email TO mail;
SELECT capi.drop_audience('buyers');

RESET ROLE;
DROP SCHEMA regress_people CASCADE;
SELECT capi.drop_dataset('main');
DROP EXTENSION capi CASCADE;
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
