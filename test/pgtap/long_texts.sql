\set ECHO none
-- Texts of an order that are kept as the query gave them are bounded, on a
-- character's boundary, and none that is left out stands for nothing.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(16);

CREATE TABLE texts (key text PRIMARY KEY, id text, name text, dataset text, reason text, source text);
SELECT capi.create_dataset(name := 'texts', dataset_id := '1001', access_token := 'not-a-token');
SELECT capi.attach(source := 'texts', table_name := 'texts', dataset := 'texts', query := $$
    SELECT key, now() - interval '1 hour' AS event_time, 1 AS value, 'EUR' AS currency, 'a@b.de' AS em,
           id AS event_id, name AS event_name, t.dataset, reason AS ignore_reason, t.source AS action_source,
           'https://a.example' AS event_source_url, 'agent' AS client_user_agent
      FROM texts t$$);
CREATE FUNCTION pg_temp.look(key text, OUT outcome text, OUT reason text, OUT event jsonb, OUT problems text[]) LANGUAGE sql AS
    $$ SELECT p.outcome, p.reason, p.event, p.problems FROM capi.preview(source := 'texts', order_key := key) p $$;

INSERT INTO texts (key, reason) VALUES
    ('short', repeat('a', 400)), ('long', repeat('a', 401)), ('wide', 'a' || repeat('€', 200)),
    ('huge', repeat('a', 1000000));
SELECT is((pg_temp.look('short')).reason, repeat('a', 400), '400 bytes of a reason are kept');
SELECT is((pg_temp.look('long')).reason, repeat('a', 400), 'of 401 the first 400');
SELECT is((pg_temp.look('wide')).reason, 'a' || repeat('€', 133), 'whole characters');
SELECT is((pg_temp.look('huge')).outcome, 'ignored', 'an order with a reason of a megabyte is ignored');
SELECT is((pg_temp.look('huge')).reason, 'a text of more than 64 kB', 'and the reason is not read');

INSERT INTO texts (key, id) VALUES ('id', repeat('ä', 128)), ('long id', repeat('ä', 128) || 'x'), ('huge id', repeat('x', 1000000));
SELECT is((pg_temp.look('id')).event ->> 'event_id', repeat('ä', 128), '256 bytes of an id are an id');
SELECT is((pg_temp.look('long id')).event ->> 'event_id', 'long id', 'instead of a longer one there is the key');
SELECT is((pg_temp.look('long id')).problems, ARRAY['{"field": "event_id", "problem": "too long"}'], 'and that is named');
SELECT is((pg_temp.look('huge id')).event ->> 'event_id', 'huge id', 'also of one that is not read');
SELECT is((pg_temp.look('huge id')).problems, ARRAY['{"field": "event_id", "problem": "too long"}'], 'and is named');

INSERT INTO texts (key, name) VALUES ('name', repeat('x', 256)), ('long name', repeat('x', 257)), ('huge name', repeat('x', 1000000));
SELECT is((pg_temp.look('name')).event ->> 'event_name', repeat('x', 256), '256 bytes of a name are a name');
SELECT is((pg_temp.look('long name')).reason, 'no_event_name', 'a longer one is none, and not that of the source');
SELECT is((pg_temp.look('huge name')).reason, 'no_event_name', 'also when it is not read');

INSERT INTO texts (key, dataset, source) VALUES ('dataset', repeat('x', 257), NULL), ('huge dataset', repeat('x', 1000000), NULL),
    ('action', NULL, repeat('website', 100));
SELECT is((pg_temp.look('dataset')).reason, 'unknown_dataset', 'a dataset of that name does not exist');
SELECT is((pg_temp.look('huge dataset')).reason, 'unknown_dataset', 'nor one whose name is not read');
SELECT is((pg_temp.look('action')).reason, 'unknown_action_source', 'nor such an action source');
SELECT * FROM finish();
ROLLBACK;
