-- The page of capi.report_html(): what it says to whom, and that it is inert.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_shop;
CREATE ROLE regress_looker;
SELECT capi.grant_access('regress_shop', 'admin');
SELECT capi.grant_access('regress_looker', 'reader');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
\pset null '-'
\pset footer off
\set SHOW_CONTEXT never
SET timezone = 'Europe/Berlin';
SET datestyle = ISO;

-- the page's text, a line for each row of a table; without what depends on the server
CREATE FUNCTION public.words(page text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT regexp_replace(w, '( \|)+ *$', '')
      FROM regexp_split_to_table(regexp_replace(regexp_replace(regexp_replace(page, '<(style|head|footer).*?</\1>', '', 'g'),
               '</(td|th|dd|text|title)>', ' | ', 'g'), '</?(bdi|strong|em|span|td|th|dt|dd|dl|div|rect|line|circle|path|text|title|g|svg|defs|pattern)( [^>]*|)>', '', 'g'),
               '(<[^>]*>|\n)+') w
     WHERE w !~ '^[ |]*$' AND w !~ 'time zone|^Needs|capi.databases|dispatcher|preload|^captures |^main [|]'
$$;

-- nothing yet
SELECT * FROM public.words(capi.report_html());
SELECT "check", state, sentence, look_at FROM capi.status WHERE "check" <> 'sending';

-- what cannot be meant
SELECT capi.report_html(NULL);
SELECT capi.report_html(now(), NULL);
SELECT capi.report_html(now(), now() - interval '1 second');

-- everything that the shop may say
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
CREATE TABLE orders (id text PRIMARY KEY, created_at timestamptz NOT NULL, total numeric(20, 2), currency text, note text);
SELECT capi.attach('<b>"orders"</b>', 'orders', 'main', query =>
    'SELECT id AS key, created_at AS event_time, total AS value, currency, note AS ignore_reason FROM orders');
INSERT INTO orders VALUES ('1', '2026-03-02 10:00+01', 1234567.50, 'EUR', NULL), ('2', '2026-03-02 11:00+01', 1000, 'JPY', NULL),
    ('3', '2026-03-04 11:00+01', 5, 'EUR', NULL);
ALTER TABLE orders DISABLE TRIGGER capi_capture;
INSERT INTO orders VALUES ('<script>alert("key")</script>', '2026-03-05 11:00+01', -7.25, 'EUR', NULL), ('no value', '2026-03-05 12:00+01', NULL, NULL, NULL);
ALTER TABLE orders ENABLE TRIGGER capi_capture;
RESET SESSION AUTHORIZATION;
SELECT capi._add_partition('delivery', '2026-03-01', '2026-04-01');
INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key, value, currency, reason)
SELECT '2026-03-04 12:00+01', CASE o.id WHEN '3' THEN 'infinity' ELSE '2026-03-04 11:59:59.5+01' END::timestamptz, o.created_at, s.id, s.dataset_id, 1,
       CASE o.id WHEN '1' THEN 'delivered' WHEN '2' THEN 'rejected' ELSE 'ignored' END, o.id, CASE o.id WHEN '1' THEN 1234567.5 END, o.currency,
       CASE o.id WHEN '2' THEN 'no_customer_data' WHEN '3' THEN '<img src=x onerror="alert(''reason'')">&amp;' END
  FROM shop.orders o, capi.source s WHERE o.id IN ('1', '2', '3');
SET SESSION AUTHORIZATION regress_shop;
SELECT * FROM public.words(capi.report_html('2026-03-01', '2026-03-08'));
SELECT p ~ '<(script|img|b>)' AS has_markup, p ~* '<[^>]*(src|href)=' AS refers, p ~ 'url\((?!#)|@import' AS loads,
       p ~ '&lt;script&gt;alert\(&quot;key&quot;\)&lt;/script&gt;' AS shows_it, p ~ '[^\x01-\x7f]' AS beyond_ascii
  FROM capi.report_html('2026-03-01', '2026-03-08') p;

-- long times have longer columns, and times without end are no error
SELECT r AS days, (SELECT count(*) FROM regexp_matches(p, '<title>[^<]*</title><rect', 'g')) AS columns, substring(p FROM '<h3>((Day|Week|Month|Year) by [a-z]+)') AS unit
  FROM unnest(ARRAY[62, 300, 3000, 9000]) r CROSS JOIN LATERAL capi.report_html('2026-03-08'::timestamptz - r * interval '1 day', '2026-03-08') p;
SELECT substring(capi.report_html('-infinity', 'infinity') FROM '<h3>((Day|Week|Month|Year) by [a-z]+)');
-- the first and the last tick of a month do not stick out
SELECT m[1] AS tick, m[2] AS x FROM regexp_matches(capi.report_html('2026-02-08 12:00', '2026-03-08 12:00'), '<text class="(tick[^"]*)" x="([^"]*)"', 'g') m;

-- each day has its column, also after one whose midnight is skipped
SELECT capi.attach('nights', 'orders', 'main', on_column => 'note', on_values => '{never}', query =>
    'SELECT n::text AS key, ''2026-09-04 12:00-04''::timestamptz + n * interval ''1 day'' AS event_time FROM generate_series(0, 4) n');
SET timezone = 'America/Santiago';
SELECT m[1] AS column FROM regexp_matches(capi.report_html('2026-09-04', '2026-09-09'), '<title>([^<]*)</title><rect', 'g') m;
SET timezone = 'Europe/Berlin';
SELECT capi.detach('nights');

-- of a source that cannot be counted the reason is there, and no number
SELECT capi.attach('broken', 'orders', 'main', on_column => 'note', on_values => '{x}', query =>
    'SELECT id AS key, created_at AS event_time, 1 / (length(id) - 1) AS value FROM orders');
SELECT * FROM public.words(capi.report_html('2026-03-01', '2026-03-08')) w WHERE w ~ 'cannot be counted|Not counted|division';
RESET SESSION AUTHORIZATION;
SET ROLE regress_looker;
SELECT * FROM public.words(capi.report_html('2026-03-01', '2026-03-08')) w WHERE w ~ 'cannot be counted|Not counted|denied';
SELECT capi._match_coverage('broken', '-infinity', 'infinity', 10);
SELECT "check", state, sentence FROM capi.status WHERE "check" = 'orders';
RESET ROLE;

-- what status says of what is wrong, and of what it cannot know
INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)
SELECT id, 'old', dataset_id, 'retrying', now() - interval '8 days', now() FROM capi.source WHERE name = 'broken';
INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key)
SELECT now(), now(), id, dataset_id, 1, 'expired', 'late' FROM capi.source WHERE name = 'broken';
SELECT capi.pause('broken');
SELECT "check", state, sentence FROM capi.status WHERE "check" <> 'sending';
SELECT "check", state, length(sentence) <= 72 AS fits FROM capi.status WHERE "check" = 'sending';
UPDATE capi.backlog SET captured_at = now() - interval '6 days 11 hours 59 minutes 1 second';
UPDATE capi.source SET missed_captures = 3 WHERE name <> 'broken';
SELECT capi.resume('broken');
SELECT "check", state, sentence FROM capi.status WHERE "check" IN ('sources', 'waiting');
-- rows that were missed are of no other source than the orders that are missing
INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key)
SELECT now(), now(), now(), id, dataset_id, 1, 'delivered', 'new' FROM capi.source WHERE name <> 'broken';
ALTER TABLE shop.orders DISABLE TRIGGER capi_capture;
INSERT INTO shop.orders VALUES ('new', now() - interval '1 minute', 1, 'EUR');
ALTER TABLE shop.orders ENABLE TRIGGER capi_capture;
SELECT "check", state, sentence FROM capi.status WHERE "check" IN ('sources', 'orders');
UPDATE capi.source SET missed_captures = 1 WHERE name = 'broken';
SELECT "check", state, sentence FROM capi.status WHERE "check" = 'sources';
DELETE FROM shop.orders WHERE id = 'new';
DELETE FROM capi.delivery WHERE key = 'new';

-- what Meta counted, hour by hour, beside what was delivered
BEGIN;
INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key, event_name)
SELECT now(), now(), now(), s.id, s.dataset_id, 1, 'delivered', n, CASE WHEN n <= 10 THEN 'Purchase' ELSE '<i>Lead</i>' END
  FROM capi.source s, generate_series(1, 13) n WHERE s.name = 'broken';
INSERT INTO capi.meta_ask (dataset_id, question, asked_at, next_at, state, told_at)
SELECT id, 'counts', now(), now(), 'ok', now() + interval '5 hours' FROM capi.dataset;
SELECT w FROM public.words(capi.report_html(now() - interval '2 days', now() + interval '1 day')) w WHERE w ~ '^Event |not told| agree';
INSERT INTO capi.meta_count (hour, dataset_id, event_name, counted)
SELECT date_trunc('hour', now()), d.id, c.name, c.n FROM capi.dataset d, (VALUES ('Purchase', 11), ('<i>Lead</i>', 30), ('PageView', 99), ('', 140)) AS c (name, n);
SELECT w FROM public.words(capi.report_html(now() - interval '2 days', now() + interval '1 day')) w WHERE w ~ '^Event |^Purchase|^PageView|Lead';
ROLLBACK;
DROP SCHEMA shop CASCADE;
DROP FUNCTION public.words(text);
DROP EXTENSION capi;
DROP OWNED BY regress_shop, regress_looker;
DROP ROLE regress_shop, regress_looker;
