-- Privileges: who may do what, with whose rights things run, and that nobody gets
-- more of them on the way.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = warning;
CREATE ROLE regress_nobody;
CREATE ROLE regress_web;
CREATE ROLE regress_reader;
CREATE ROLE regress_operator;
CREATE ROLE regress_admin;
CREATE ROLE regress_shop;
CREATE ROLE regress_writer;
CREATE ROLE regress_mallory;
\pset null '-'
\pset footer off
\pset format unaligned
SELECT capi.grant_access('regress_web', 'writer');
SELECT capi.grant_access('regress_reader', 'reader');
SELECT capi.grant_access('regress_operator', 'operator');
SELECT capi.grant_access('regress_admin', 'admin');
SELECT capi.grant_access('regress_shop', 'admin');
SELECT capi.grant_access('regress_mallory', 'admin');

-- nothing to PUBLIC
SELECT 'schema' AS what, nspname AS name FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
 WHERE nspname = 'capi' AND grantee = 0
UNION ALL
SELECT 'relation', relname FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
 WHERE relnamespace = 'capi'::regnamespace AND grantee = 0
UNION ALL
SELECT 'function', proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
 WHERE pronamespace = 'capi'::regnamespace AND grantee = 0;

-- what the duties include
SELECT p.proname AS name, string_agg(substr(rolname, 9), ' ' ORDER BY array_position('{regress_web,regress_reader,regress_operator,regress_admin}', rolname::text)) AS who
  FROM pg_proc p JOIN pg_roles r ON rolname IN ('regress_nobody', 'regress_web', 'regress_reader', 'regress_operator', 'regress_admin')
                                AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
 WHERE p.pronamespace = 'capi'::regnamespace GROUP BY p.oid, p.proname ORDER BY p.proname COLLATE "C";
SELECT c.relname AS name, string_agg(substr(rolname, 9) || ' ' || privilege, ', ' ORDER BY array_position('{regress_web,regress_reader,regress_operator,regress_admin}', rolname::text)) AS who
  FROM pg_class c CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('TRIGGER'), ('REFERENCES')) AS v (privilege)
  JOIN pg_roles r ON rolname IN ('regress_nobody', 'regress_web', 'regress_reader', 'regress_operator', 'regress_admin')
                 AND has_table_privilege(r.oid, c.oid, privilege)
 WHERE c.relnamespace = 'capi'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') GROUP BY c.relname ORDER BY c.relname COLLATE "C";

-- and what that looks like
SET SESSION AUTHORIZATION regress_nobody;
SELECT * FROM capi.health;
SELECT capi.normalize('em', 'x');
SET SESSION AUTHORIZATION regress_reader;
SELECT count(*) FROM capi.delivery_status;
SELECT count(*) FROM capi.diagnose() WHERE "check" = 'version' AND ok;
SELECT count(*) FROM capi.secret;
SELECT count(*) FROM capi.delivery;
SELECT capi.pause_dataset('main');
SELECT capi.grant_access('regress_reader', 'admin');
SET SESSION AUTHORIZATION regress_operator;
SELECT capi.set_access_token('main', 'a-token');
SELECT capi.attach('mine', 'pg_class', 'main');

-- a shop: one role owns the tables and attaches, another only writes
SET SESSION AUTHORIZATION regress_shop;
SET client_min_messages = error;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SET client_min_messages = warning;
RESET SESSION AUTHORIZATION;
CREATE SCHEMA shop AUTHORIZATION regress_shop;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
GRANT USAGE ON SCHEMA shop TO regress_writer, regress_operator, regress_mallory;
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), email text);
GRANT INSERT ON orders TO regress_writer;
-- the query tells as whom it runs
SELECT capi.attach('placed', 'orders', 'main',
                   query => 'SELECT id AS key, created_at AS event_time, current_user::text AS ignore_reason FROM orders');
SET SESSION AUTHORIZATION regress_writer;
INSERT INTO shop.orders (id) VALUES (1);
RESET SESSION AUTHORIZATION;
SELECT order_key, status FROM capi.delivery_status;

-- ... also when a function of somebody else writes
SET SESSION AUTHORIZATION regress_shop;
CREATE FUNCTION place(id int) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = shop AS 'INSERT INTO orders (id) VALUES ($1)';
SET SESSION AUTHORIZATION regress_nobody;
SELECT shop.place(2);
RESET SESSION AUTHORIZATION;
GRANT USAGE ON SCHEMA shop TO regress_nobody;
SET SESSION AUTHORIZATION regress_nobody;
SELECT shop.place(2);
RESET SESSION AUTHORIZATION;
SELECT order_key, status FROM capi.delivery_status ORDER BY order_key;

-- whose rights the query has: the attaching role's, whoever delivers
SET SESSION AUTHORIZATION regress_operator;
CALL capi.deliver();
SELECT order_key, status, reason AS ran_as FROM capi.delivery_status ORDER BY order_key;
RESET SESSION AUTHORIZATION;
CALL capi.deliver();
-- a superuser's: those of the table's owner
SELECT capi.attach('by_superuser', 'shop.orders', 'main',
                   query => 'SELECT id AS key, created_at AS event_time, current_user::text AS ignore_reason FROM shop.orders');
-- his preview is the source's role, too: what a query calls gains nothing by it
SELECT source, reason AS ran_as FROM (VALUES ('placed'), ('by_superuser')) AS v (source), capi.preview(source, '1');
-- of a table that a superuser owns: to read, and no more
CREATE TABLE shop.prices (id int PRIMARY KEY);
SELECT capi.attach('prices', 'shop.prices', 'main',
                   query => 'SELECT id AS key, now() AS event_time, current_user::text AS ignore_reason FROM shop.prices');
INSERT INTO shop.orders VALUES (3);
INSERT INTO shop.prices VALUES (3);
CALL capi.deliver();
SELECT source, reason AS ran_as FROM capi.delivery_status WHERE order_key = '3' ORDER BY source;
-- of a role that is made a superuser later: likewise
ALTER ROLE regress_shop SUPERUSER;
INSERT INTO shop.orders VALUES (30);
CALL capi.deliver();
ALTER ROLE regress_shop NOSUPERUSER;
SELECT source, reason AS ran_as FROM capi.delivery_status WHERE order_key = '30' ORDER BY source;
SELECT capi.detach('by_superuser');
SELECT capi.detach('prices');

-- what the role may not read, its query may not either; capi's own tables least of all
SET SESSION AUTHORIZATION regress_mallory;
SELECT capi.attach('stolen', 'shop.orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM shop.orders');
RESET SESSION AUTHORIZATION;
CREATE SCHEMA mallory AUTHORIZATION regress_mallory;
SET SESSION AUTHORIZATION regress_mallory;
SET search_path = mallory;
CREATE TABLE own (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), state text);
SELECT capi.attach('own', 'own', 'main', query => 'SELECT id AS key, created_at AS event_time, (SELECT email FROM shop.orders LIMIT 1) AS em FROM own');
SELECT capi.attach('own', 'own', 'main', query => 'SELECT id AS key, created_at AS event_time, (SELECT count(*)::text FROM capi.secret) AS em FROM own');
SELECT * FROM capi.preview('placed');
SELECT capi.detach('placed');
SELECT capi.alter_source('placed', hold => '1 day');

-- a function in the query gets nothing more, can change nothing, and cannot leave
CREATE FUNCTION break_out() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text := '';
BEGIN
    BEGIN
        SET ROLE NONE;
    EXCEPTION WHEN OTHERS THEN
        said := said || '; ' || SQLERRM;
    END;
    BEGIN
        SET SESSION AUTHORIZATION DEFAULT;
    EXCEPTION WHEN OTHERS THEN
        said := said || '; ' || SQLERRM;
    END;
    BEGIN
        SET LOCAL transaction_read_only = off;
    EXCEPTION WHEN OTHERS THEN
        said := said || '; ' || SQLERRM;
    END;
    BEGIN
        UPDATE own SET state = 'written';
    EXCEPTION WHEN OTHERS THEN
        said := said || '; ' || SQLERRM;
    END;
    BEGIN
        CREATE TEMPORARY TABLE left_behind ();
    EXCEPTION WHEN OTHERS THEN
        said := said || '; ' || SQLERRM;
    END;
    RETURN current_user || said;
END $$;
SELECT capi.attach('own', 'own', 'main', query => 'SELECT id AS key, created_at AS event_time, break_out() AS ignore_reason FROM own');
INSERT INTO own VALUES (1);
RESET SESSION AUTHORIZATION;
CALL capi.deliver();
SELECT order_key, reason AS ran_as FROM capi.delivery_status WHERE source = 'own';
SELECT current_user = session_user AS same, state FROM mallory.own;
SET SESSION AUTHORIZATION regress_mallory;
SELECT capi.detach('own');

-- the checks of a domain are code of the domain's owner
CREATE FUNCTION look(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'regress_mallory' THEN
        RAISE WARNING 'the check of a domain runs as somebody else';
    END IF;
    RETURN true;
END $$;
CREATE DOMAIN checked AS text CHECK (look(VALUE));
CREATE TYPE pair AS (a checked, b int);
CREATE TYPE between_checked AS RANGE (subtype = checked);
CREATE TABLE trap (id checked PRIMARY KEY, created_at timestamptz DEFAULT now(), state checked, list checked[], pair pair, span between_checked);
SELECT capi.attach('trap', 'trap', 'main', on_column => 'state', on_values => '{paid}',
                   query => 'SELECT id AS key, created_at AS event_time, ''read'' AS ignore_reason FROM trap');
SELECT capi.attach('trap2', 'trap', 'main', on_column => 'list', on_values => '{"{paid}"}', query => 'SELECT id AS key, created_at AS event_time FROM trap');
SELECT capi.attach('trap2', 'trap', 'main', on_column => 'pair', on_values => '{"(paid,1)"}', query => 'SELECT id AS key, created_at AS event_time FROM trap');
SELECT capi.attach('trap2', 'trap', 'main', on_column => 'span', on_values => '{"[a,b]"}', query => 'SELECT id AS key, created_at AS event_time FROM trap');
SELECT capi.attach('trap2', 'trap', 'main', key_columns => '{list}', query => 'SELECT list AS key, created_at AS event_time FROM trap');
SELECT capi.attach('trap2', 'trap', 'main', key_columns => '{pair}', query => 'SELECT pair AS key, created_at AS event_time FROM trap');
INSERT INTO trap VALUES ('1', now(), 'paid');
RESET SESSION AUTHORIZATION;
SELECT source, state FROM capi.source_status WHERE source = 'trap';
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'trap';
SELECT capi.detach('trap');

-- names: what a caller's search_path finds first is not what capi means
SET SESSION AUTHORIZATION regress_mallory;
CREATE FUNCTION spring() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'regress_mallory' THEN
        RAISE WARNING 'a function of a caller''s search_path runs as somebody else';
    END IF;
END $$;
CREATE FUNCTION same(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.=) $2';
CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.=) $2';
CREATE FUNCTION same(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.=) $2';
CREATE FUNCTION differs(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.<>) $2';
CREATE FUNCTION differs(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.<>) $2';
CREATE FUNCTION times(numeric, int) RETURNS numeric LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.*) $2::numeric';
CREATE FUNCTION joined(text, text) RETURNS text LANGUAGE sql AS 'SELECT mallory.spring(); SELECT $1 OPERATOR(pg_catalog.||) $2';
CREATE OPERATOR = (leftarg = int, rightarg = int, function = same);
CREATE OPERATOR = (leftarg = text, rightarg = text, function = same);
CREATE OPERATOR = (leftarg = oid, rightarg = oid, function = same);
CREATE OPERATOR <> (leftarg = text, rightarg = text, function = differs);
CREATE OPERATOR <> (leftarg = oid, rightarg = oid, function = differs);
CREATE OPERATOR * (leftarg = numeric, rightarg = int, function = times);
CREATE OPERATOR || (leftarg = text, rightarg = text, function = joined);
CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS 'SELECT mallory.spring(); SELECT pg_catalog.now()';
CREATE FUNCTION format(text, text) RETURNS text LANGUAGE sql AS 'SELECT mallory.spring(); SELECT pg_catalog.format($1, $2)';
CREATE TABLE pg_class (oid oid, relkind "char", relpersistence "char", relnamespace oid);
CREATE TABLE source (id int);
INSERT INTO own VALUES (2);
SET search_path = mallory, pg_catalog, shop;
SELECT capi.attach('own', 'mallory.own', 'main', on_column => 'state', on_values => '{a}', query => 'SELECT id AS key, created_at AS event_time, current_user::text AS ignore_reason FROM own');
SELECT capi.alter_source('own', hold => '0', on_column => '');
SELECT capi.pause('own');
SELECT capi.resume('own');
INSERT INTO own VALUES (3);
SELECT count(*) FROM capi.preview('own');
SELECT count(*) FROM capi.source_status;
SELECT count(*) FROM capi.health;
SELECT count(*) > 0 FROM capi.diagnose();
SELECT capi.create_dataset('extra', '2');
SELECT capi.alter_dataset('extra', events_per_hour => 5);
SELECT capi.drop_dataset('extra');
SELECT capi.suggest_query('mallory.own');
SELECT capi.redrive('own', 'ignored');
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'own' ORDER BY order_key;
SELECT capi.detach('own');
SET search_path = mallory;

-- nor can who delivers put a table of his in the place of the shop's
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
SELECT capi.alter_source('placed', query => 'SELECT id AS key, created_at AS event_time, CASE tableoid WHEN ''shop.orders''::regclass THEN ''of the shop'' ELSE ''of another'' END AS ignore_reason FROM orders');
INSERT INTO orders VALUES (4);
SET SESSION AUTHORIZATION regress_operator;
SET search_path = pg_temp;
CREATE TEMPORARY TABLE orders (id int, created_at timestamptz DEFAULT now(), email text);
GRANT SELECT ON orders TO PUBLIC;
INSERT INTO orders VALUES (4);
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE order_key = '4';
DROP TABLE orders;
SET search_path = public;

-- rows that a policy hides from the role are hidden from its query
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY visible ON orders USING (id <> 5);
CREATE POLICY any_new ON orders FOR INSERT WITH CHECK (true);
INSERT INTO orders VALUES (5), (6);
RESET SESSION AUTHORIZATION;
SET row_security = off;
CALL capi.deliver();
RESET row_security;
SELECT order_key, status, reason FROM capi.delivery_status WHERE order_key IN ('5', '6') ORDER BY order_key;

-- the trigger function: not for everybody, and of no use on another table
SET SESSION AUTHORIZATION regress_mallory;
SET search_path = mallory;
CREATE TRIGGER mine AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION capi.capture();
CREATE TABLE parts (id int, created_at timestamptz) PARTITION BY LIST (id);
SELECT capi.attach('parts', 'parts', 'main', key_columns => '{id}', query => 'SELECT id AS key, created_at AS event_time FROM parts');
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TRIGGER mine AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION capi.capture();
INSERT INTO own VALUES (9);
SELECT source, order_key FROM capi.delivery_status WHERE order_key = '9';
SELECT source, missed_captures FROM capi.source_status ORDER BY source;
SELECT capi.detach('parts');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);

-- a statement with a token shows nowhere
RESET SESSION AUTHORIZATION;
SET client_min_messages = error;
SELECT capi.set_access_token('main', 'b-token', endpoint => 'https://127.0.0.1:9'), (SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid());
DO $$ BEGIN PERFORM capi.set_access_token('main', 'b token'); END $$;

-- a schema that was there before, of somebody who could have put anything into it
RESET search_path;
BEGIN;
DROP EXTENSION capi CASCADE;
DROP SCHEMA IF EXISTS capi;
CREATE SCHEMA capi AUTHORIZATION regress_mallory;
\set SHOW_CONTEXT never
CREATE EXTENSION capi;
\set SHOW_CONTEXT errors
ROLLBACK;

SELECT capi.detach('placed');
SELECT capi.drop_dataset('main');
DROP SCHEMA shop, mallory CASCADE;
DROP OWNED BY regress_nobody, regress_web, regress_reader, regress_operator, regress_admin, regress_shop, regress_writer, regress_mallory;
DROP ROLE regress_nobody, regress_web, regress_reader, regress_operator, regress_admin, regress_shop, regress_writer, regress_mallory;
