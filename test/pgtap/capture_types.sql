\set ECHO none
-- Which updates of a watched column are events, for every kind of type:
-- vectors/capture.tsv has type, on_values (as in an array literal, without its
-- braces), value before, value after, event or not, what is tried.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(66);

CREATE TYPE order_state AS ENUM ('open', 'paid', 'settled');
CREATE DOMAIN state_text AS text CHECK (VALUE <> 'wrong');
CREATE DOMAIN state_of_state AS state_text;
CREATE DOMAIN state_enum AS order_state;
CREATE DOMAIN small_number AS int CHECK (VALUE < 100);

CREATE TABLE vector (n serial, type text, on_values text, before text, after text,
    event boolean, what text);
\copy vector (type, on_values, before, after, event, what) FROM 'vectors/capture.tsv'
SELECT is(count(*), 60::bigint, 'every vector was read') FROM vector;

SELECT capi.create_dataset(name := 'types', dataset_id := '1001');

-- Attaches a table with a column of the type and updates it from one value to
-- the other: how often was that, and the insert of the same, an event?
CREATE FUNCTION try(v vector, OUT updated bigint, OUT inserted bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE try_%s (id int PRIMARY KEY, c %s)', v.n, v.type);
    EXECUTE format('INSERT INTO try_%s VALUES (1, %L)', v.n, v.before);
    PERFORM capi.attach(source := 'try', table_name := ('try_' || v.n)::regclass, dataset := 'types',
        on_column := 'c', on_values := ('{' || v.on_values || '}')::text[],
        query := format('SELECT id AS key, now() AS event_time FROM try_%s', v.n));
    EXECUTE format('UPDATE try_%s SET c = %L', v.n, v.after);
    EXECUTE format('INSERT INTO try_%s VALUES (2, %L)', v.n, v.after);
    SELECT count(*) FILTER (WHERE order_key = '1'), count(*) FILTER (WHERE order_key = '2')
      INTO updated, inserted FROM capi.delivery_status WHERE source = 'try';
    PERFORM capi.detach('try');
    DELETE FROM capi.queue_0;
    DELETE FROM capi.queue_1;
    DELETE FROM capi.queue_2;
    DELETE FROM capi.queue_3;
END $$;
SELECT is((try(v)).updated, v.event::int::bigint, format('%s: %s', v.type, v.what))
  FROM vector v ORDER BY v.n;

-- A row that is inserted with the value counts, wherever an update into it would.
CREATE FUNCTION inserted(n int) RETURNS bigint LANGUAGE sql AS
    $$ SELECT (try(v)).inserted FROM (SELECT (v.n + 1000)::int AS n, v.type, v.on_values, v.before,
           v.after, v.event, v.what FROM vector v WHERE v.n = $1) AS v $$;
SELECT is_empty($$SELECT v.type, v.what FROM vector v WHERE v.event AND inserted(v.n) <> 1$$,
    'inserted with the value');

-- A collation by which different texts are equal
SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS has_icu \gset
\if :has_icu
CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT is((try(ROW(2001, 'text COLLATE no_case', 'paid', 'open', 'PAID', true, '')::vector)).updated, 1::bigint,
    'a collation without case: to an equal value');
SELECT is((try(ROW(2002, 'text COLLATE no_case', 'paid', 'Paid', 'PAID', true, '')::vector)).updated, 0::bigint,
    'a collation without case: from equal to equal');
\else
SELECT skip('no ICU', 2);
\endif

-- A type of an extension, with an equality of its own
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AS has_citext \gset
\if :has_citext
CREATE EXTENSION IF NOT EXISTS citext;
SELECT is((try(ROW(2003, 'citext', 'paid', 'open', 'PAID', true, '')::vector)).updated, 1::bigint,
    'citext: to an equal value');
SELECT is((try(ROW(2004, 'citext', 'paid', 'Paid', 'PAID', true, '')::vector)).updated, 0::bigint,
    'citext: from equal to equal');
\else
SELECT skip('no citext', 2);
\endif

SELECT * FROM finish();
ROLLBACK;
