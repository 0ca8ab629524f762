-- The settings under which a source's query runs are the same everywhere,
-- whatever the session, the database or the server prefers.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS capi;
SELECT capi.create_dataset(name => 'settings', dataset_id => '123', access_token => 't0ken');
CREATE TABLE setting_orders (id int PRIMARY KEY);
INSERT INTO setting_orders VALUES (1);
SELECT capi.attach('settings', 'setting_orders', 'settings', query => $$
    SELECT o.id AS key, now() AS event_time, 'a@example.com' AS em, 1 AS value, 'EUR' AS currency,
           (SELECT jsonb_object_agg(s.name, s.setting) FROM pg_catalog.pg_settings s
             WHERE s.name IN ('jit', 'DateStyle', 'extra_float_digits', 'row_security',
                              'transaction_read_only')) AS custom_data
      FROM setting_orders o $$);
SET jit = on;
SET datestyle = 'German';
SET extra_float_digits = 0;
SET row_security = off;
SELECT s.key, s.value
  FROM capi.preview('settings', '1') p, jsonb_each_text(p.event -> 'custom_data') s
 WHERE s.key NOT IN ('value', 'currency')
 ORDER BY s.key COLLATE "C";
-- the session keeps its own
SHOW jit;
RESET jit;
RESET datestyle;
RESET extra_float_digits;
RESET row_security;
SELECT capi.detach('settings');
SELECT capi.drop_dataset('settings');
DROP TABLE setting_orders;
