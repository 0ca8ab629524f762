-- What goes wrong in a type, or with a value, is counted and is not the order's error.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SELECT capi.create_dataset(name => 'main', dataset_id => '1');
CREATE SCHEMA faults;
SET search_path = faults, public;
\pset null '-'
\pset footer off
CREATE VIEW noted AS
    SELECT s.name AS source, u.key, u.missed
      FROM capi._unread u JOIN capi.source s ON s.id = u.source_id;

-- a type whose equality raises an error for some values
CREATE TYPE fragile;
CREATE FUNCTION fragile_in(cstring) RETURNS fragile LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
CREATE FUNCTION fragile_out(fragile) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE TYPE fragile (INPUT = fragile_in, OUTPUT = fragile_out, LIKE = bytea);
CREATE CAST (fragile AS text) WITH INOUT;
CREATE FUNCTION fragile_eq(a fragile, b fragile) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF a::text = '\x00' THEN
        RAISE EXCEPTION 'fragile';
    END IF;
    RETURN a::text = b::text;
END $$;
CREATE FUNCTION fragile_hash(a fragile) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT hashtext(a::text)';
CREATE OPERATOR = (LEFTARG = fragile, RIGHTARG = fragile, FUNCTION = fragile_eq, HASHES);
CREATE OPERATOR CLASS fragile_ops DEFAULT FOR TYPE fragile USING hash AS OPERATOR 1 =, FUNCTION 1 fragile_hash(fragile);

CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), state fragile);
SELECT capi.attach('compared', 'orders', 'main', on_column => 'state', on_values => '{"\\x01"}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
INSERT INTO orders VALUES (1, now(), '\x01'), (2, now(), '\x02');
SELECT * FROM noted ORDER BY key;
-- once in a statement, or it would fill the queue
INSERT INTO orders SELECT n, now(), '\x00' FROM generate_series(3, 99) n;
SELECT * FROM noted ORDER BY key;
BEGIN;
UPDATE orders SET state = '\x01' WHERE id IN (2, 3);     -- the old value of 3 is the first to be compared
INSERT INTO orders VALUES (100, now(), '\x00');
COMMIT;
SELECT * FROM noted ORDER BY key;
SELECT state, missed_captures FROM capi.source_status;
SELECT count(*) FROM orders;

-- labels whose row is gone: the output function fails
CREATE TYPE label AS ENUM ('a', 'b');
CREATE TABLE labelled (id label PRIMARY KEY, created_at timestamptz DEFAULT now(), status label);
SELECT capi.attach('labelled', 'labelled', 'main',
                   query => 'SELECT id AS key, created_at AS event_time FROM labelled');
INSERT INTO labelled VALUES ('a');
SET allow_system_table_mods = on;
CREATE TABLE kept AS SELECT 'b'::label AS id;
DELETE FROM pg_enum WHERE enumtypid = 'label'::regtype AND enumlabel = 'b';
INSERT INTO labelled (id) SELECT id FROM kept;
SELECT * FROM noted WHERE source = 'labelled' ORDER BY key;
SELECT count(*) FROM labelled;

-- long values are not looked at, whatever they are
CREATE TABLE files (id bytea, created_at timestamptz DEFAULT now());
ALTER TABLE files ALTER id SET STORAGE EXTERNAL;
SELECT capi.attach('files', 'files', 'main', key_columns => '{id}',
                   query => 'SELECT id AS key, created_at AS event_time FROM files');
INSERT INTO files VALUES ('\x0102'), (decode(repeat('ab', 510), 'hex')), (decode(repeat('ab', 600), 'hex')),
    (decode(repeat('ab', 20000), 'hex'));
SELECT left(key, 10) AS key, length(key), missed FROM noted WHERE source = 'files' ORDER BY key;

-- the copy of the rules is in step with them, in what capture reads
CREATE VIEW astray AS
    SELECT count(*) FROM capi.source s FULL JOIN capi_reserve.source c USING (id)
     WHERE (s.table_name, s.key_columns, s.key_types, s.query_key_type, s.on_column, s.on_type, s.on_values, s.fire_on_replica, s.detached_at)
           IS DISTINCT FROM
           (c.table_name, c.key_columns, c.key_types, c.query_key_type, c.on_column, c.on_type, c.on_values, c.fire_on_replica, c.detached_at);
SELECT capi.attach('copied', 'files', 'main', key_columns => '{id}', query => 'SELECT id AS key, created_at AS event_time FROM files');
SELECT * FROM astray;
SELECT capi.alter_source('copied', on_column => 'created_at', fire_on_replica => true);
SELECT * FROM astray;
SELECT capi.detach('copied');
SELECT * FROM astray;
SELECT count(*) FROM capi_reserve.source;

-- the queue itself: a column more, and the row goes elsewhere
TRUNCATE files;
ALTER TABLE capi.queue_0 ADD COLUMN mine int;
INSERT INTO files VALUES ('\x03');
SELECT left(key, 10) AS key, missed FROM noted WHERE source = 'files' AND key = '\x03';
SELECT count(*) FROM capi.queue_1;
RESET allow_system_table_mods;

DROP EXTENSION capi CASCADE;
DROP SCHEMA faults CASCADE;
