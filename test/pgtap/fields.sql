\set ECHO none
-- Fields of every channel, time zones, minor units, previews, match quality,
-- browser contexts, pixel calls and what capi.send() takes: all that can be
-- seen without sending.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(127);

SELECT capi.create_dataset(name => 'main', dataset_id => '1001', access_token => 'not-a-token');
CREATE FUNCTION pg_temp.sha(value text) RETURNS text LANGUAGE sql AS
    $$ SELECT encode(sha256(convert_to(value, 'UTF8')), 'hex') $$;

-- One event with the given columns, as preview shows it.
CREATE TABLE one (id int PRIMARY KEY);
INSERT INTO one VALUES (1);
CREATE FUNCTION pg_temp.look(columns text, settings text DEFAULT '',
                             OUT outcome text, OUT reason text, OUT event jsonb,
                             OUT problems text[], OUT fields jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM capi.detach('one') FROM capi.source_status WHERE source = 'one';
    EXECUTE format('SELECT capi.attach(source => %L, table_name => %L, dataset => %L, query => %L%s)',
                   'one', 'one', 'main',
                   'SELECT id AS key, ' || columns || ' FROM one', settings);
    SELECT p.outcome, p.reason, p.event, p.problems, p.fields
      INTO outcome, reason, event, problems, fields
      FROM capi.preview('one', '1') p;
END $$;
\set base 'now() - interval ''1 hour'' AS event_time, ''a@b.de'' AS em'

-- SPEC 2.1: each channel with what it must carry
SELECT is(outcome || coalesce(': ' || reason, ''), 'delivered', source || ' needs nothing more')
  FROM unnest(ARRAY['email', 'website', 'phone_call', 'chat', 'system_generated', 'other']) AS source,
       pg_temp.look(format($$now() - interval '1 hour' AS event_time, 'a@b.de' AS em,
                             'Lead' AS event_name, %L AS action_source$$, source));
SELECT is(outcome, 'delivered', 'physical_store within 62 days')
  FROM pg_temp.look($$now() - interval '61 days' AS event_time, 'a@b.de' AS em, 5 AS value, 'EUR' AS currency,
                      'physical_store' AS action_source,
                      '{"store_page_id": 1, "store_code": "B7"}'::jsonb AS store_data$$);
SELECT is(outcome || ': ' || reason, 'expired: too_old', 'physical_store after 62 days')
  FROM pg_temp.look($$now() - interval '63 days' AS event_time, 'a@b.de' AS em, 5 AS value, 'EUR' AS currency,
                      'physical_store' AS action_source$$);
SELECT is(outcome || ': ' || reason, 'expired: too_old', 'website after 7 days')
  FROM pg_temp.look($$now() - interval '8 days' AS event_time, 'a@b.de' AS em, 5 AS value, 'EUR' AS currency$$);

\set app '''Lead'' AS event_name, ''app'' AS action_source'
SELECT is(reason, 'no_tracking_flags', 'app without app_data')
  FROM pg_temp.look(:'base' || ', ' || :'app');
SELECT is(reason, 'bad_extinfo', 'app without extinfo')
  FROM pg_temp.look(:'base' || ', ' || :'app' || ', true AS advertiser_tracking_enabled, 0 AS application_tracking_enabled');
SELECT is(reason, 'bad_extinfo', 'app with a blank OS version')
  FROM pg_temp.look(:'base' || ', ' || :'app' || $$, true AS advertiser_tracking_enabled, 0 AS application_tracking_enabled,
       ARRAY['i2', '', '', '', ' ', '', '', '', '', '', '', '', '', '', '', ''] AS extinfo$$);
SELECT is(event -> 'app_data', '{"advertiser_tracking_enabled": 1, "application_tracking_enabled": 0,
        "extinfo": ["i2", "", "", "", "17.1", "", "", "", "", "", "", "", "", "", "", ""]}'::jsonb,
        'app_data from columns: flags as numbers, sixteen places of extinfo')
  FROM pg_temp.look(:'base' || ', ' || :'app' || $$, true AS advertiser_tracking_enabled, 0 AS application_tracking_enabled,
       ARRAY['i2', NULL, '', '', '17.1', '', '', '', '', '', '', '', '', '', '', ''] AS extinfo$$);
SELECT is(event -> 'app_data', '{"advertiser_tracking_enabled": 1, "application_tracking_enabled": 1,
        "extinfo": ["a2", "", "", "", "14", "", "", "", "", "", "", "", "", "", "", ""],
        "consider_views": true, "url_schemes": ["a", "b"], "install_referrer": "x"}'::jsonb,
        'the same from one jsonb')
  FROM pg_temp.look(:'base' || ', ' || :'app' || $$, '{"advertiser_tracking_enabled": true,
       "application_tracking_enabled": 1, "consider_views": "yes", "url_schemes": ["a", "b"],
       "extinfo": ["a2", "", null, "", 14, "", "", "", "", "", "", "", "", "", "", ""],
       "install_referrer": "x", "colour": 1}'::jsonb AS app_data$$);
SELECT is(problems, ARRAY['{"field": "app_data.colour", "problem": "not known to Meta"}'],
        'an unknown member is dropped and named')
  FROM pg_temp.look(:'base' || ', ' || :'app' || $$, '{"advertiser_tracking_enabled": true,
       "application_tracking_enabled": 1,
       "extinfo": ["a2", "", null, "", 14, "", "", "", "", "", "", "", "", "", "", ""],
       "colour": 1}'::jsonb AS app_data$$);

\set msg '''Lead'' AS event_name, ''business_messaging'' AS action_source'
SELECT is(reason, 'no_messaging_channel', 'messaging without a channel')
  FROM pg_temp.look(:'base' || ', ' || :'msg');
SELECT is(reason, want, channel || ' without ' || want)
  FROM (VALUES ('messenger', 'no_page_id'), ('instagram', 'no_ig_account_id'),
               ('whatsapp', 'no_ctwa_clid')) AS v (channel, want),
       pg_temp.look(:'base' || ', ' || :'msg' || format(', %L AS messaging_channel', channel));
SELECT is(reason, 'no_page_or_whatsapp_id', 'whatsapp without an account')
  FROM pg_temp.look(:'base' || ', ' || :'msg' || $$, 'WhatsApp' AS messaging_channel, 'c' AS ctwa_clid$$);
SELECT is(event -> 'user_data', '{"page_id": "1", "page_scoped_user_id": "2"}', 'messenger: ids alone are enough')
  FROM pg_temp.look($$now() AS event_time, 'Purchase' AS event_name, 'business_messaging' AS action_source,
       'messenger' AS messaging_channel, 1 AS page_id, 2 AS page_scoped_user_id, 3 AS value, 'usd' AS currency$$);
SELECT is(event ->> 'messaging_channel', 'whatsapp', 'a known word in Meta''s case')
  FROM pg_temp.look(:'base' || ', ' || :'msg' || $$, 'WhatsApp' AS messaging_channel, 'c' AS ctwa_clid,
       '5' AS whatsapp_business_account_id$$);
SELECT is(problems[1], '{"field": "messaging_channel", "problem": "not one of the values that Meta knows"}',
        'an unknown one is dropped and named')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'telegram' AS messaging_channel$$);

-- limited data use
SELECT is(event -> 'data_processing_options', '[]', 'explicitly none is an empty list')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{}'::text[] AS data_processing_options$$);
SELECT is(event - ARRAY['user_data', 'event_time', 'event_id', 'event_name', 'action_source'],
        '{"data_processing_options": ["LDU"], "data_processing_options_country": 0, "data_processing_options_state": 0}',
        'places that are not given: let Meta find them')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{ldu}'::text[] AS data_processing_options$$);
SELECT is(event -> 'data_processing_options_state', '1000', 'California')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'LDU' AS data_processing_options,
       1 AS data_processing_options_country, 1000 AS data_processing_options_state$$);

-- the other objects
SELECT is(event -> 'original_event_data', '{"event_name": "Purchase", "event_time": 1700000000, "order_id": "7"}',
        'original_event_data: known members, typed')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{"event_name": "Purchase", "event_time": "1700000000",
       "order_id": 7, "value": 3}'::jsonb AS original_event_data$$);
SELECT is(event -> 'attribution_data', '{"attribution_share": 0.5, "attribution_model": "linear",
        "attribution_setting": {"inactivity_window_hours": 3}}', 'attribution_data')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{"attribution_share": "0.50", "attribution_model": "Linear",
       "attribution_setting": {"inactivity_window_hours": 3}, "scope": null}'::jsonb AS attribution_data$$);
SELECT is(event -> 'custom_data' ->> 'customer_segmentation', 'new_customer_to_business', 'customer_segmentation')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'new_customer_to_business' AS customer_segmentation$$);
SELECT is(event -> 'custom_data' -> 'contents', '[{"id": "a", "quantity": 1, "item_price": 0, "delivery_category": "in_store"},
        {"id": "b", "title": "T"}]', 'contents: zero price sent, words checked, unknown keys dropped')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '[{"id": "a", "quantity": 1, "item_price": 0.00, "delivery_category": "IN_STORE"},
       {"id": "b", "title": "T", "name": "x", "delivery_category": "by air"}]'::jsonb AS contents$$);
SELECT is(event -> 'user_data' ->> 'app_user_id', pg_temp.sha('u1'), 'app_user_id is hashed, a plain text')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'u1' AS app_user_id$$);
SELECT is(event -> 'custom_data', '{"value": 0, "currency": "EUR"}', 'value 0 is sent')
  FROM pg_temp.look(:'base' || $$, 0.00 AS value, 'eur' AS currency$$);
SELECT is(event ->> 'opt_out', 'true', 'opt_out')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 't' AS opt_out, 'https://a.example/' AS referrer_url$$);

-- what would sink a request is left out, or made what it means
SELECT is(array[event ->> 'data_processing_options_country', event ->> 'data_processing_options_state'], want, what)
  FROM (VALUES ('', '{0,0}'::text[], 'LDU alone: both places are left to Meta'),
               (', 1000 AS data_processing_options_state', '{1,1000}', 'a state is one of the USA'),
               (', 0 AS data_processing_options_country, 1001 AS data_processing_options_state', '{1,1001}', 'whatever the country says'),
               (', 7 AS data_processing_options_country, 9 AS data_processing_options_state', '{0,0}', 'unknown places are left out'))
       AS v (more, want, what),
       pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'LDU' AS data_processing_options$$ || more);
SELECT is(problems, ARRAY['{"field": "data_processing_options_country", "problem": "given without LDU"}'], 'places without LDU are dropped')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 1 AS data_processing_options_country$$);
SELECT is(event -> 'custom_data' -> 'contents', '[{"id": "b", "quantity": 2}]', 'offline, an item without quantity is dropped')
  FROM pg_temp.look(:'base' || $$, 'physical_store' AS action_source, 1 AS value, 'EUR' AS currency,
       '[{"id": "a"}, {"id": "b", "quantity": 2}]'::jsonb AS contents$$);
SELECT is(event -> 'app_data', NULL, 'extinfo of another length is dropped, also where none is needed')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{a2,b}'::text[] AS extinfo$$);
SELECT is(event #>> '{original_event_data,event_time}', '1700000000', 'the original time in milliseconds becomes seconds')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{"event_time": 1700000000123}'::jsonb AS original_event_data$$);
SELECT is(event -> 'attribution_data', '{"attribution_setting": {"inactivity_window_hours": 3}}', 'unknown members of objects in objects, negative counts')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '{"attr_window": -1, "attribution_setting":
       {"inactivity_window_hours": 3, "colour": 1}}'::jsonb AS attribution_data$$);
SELECT is(event -> 'user_data' -> field, NULL, field || ' that is none is dropped')
  FROM (VALUES ('lead_id', '0'), ('fb_login_id', '-5'), ('page_id', 'my page'), ('fbc', 'fb.1.1554763741.AbC'),
               ('fbc', 'fb.10.1554763741205.AbC'), ('fbc', 'fb.1.1554763741205.A+C')) AS v (field, value),
       pg_temp.look(:'base' || format($$, 'Lead' AS event_name, %L AS %I$$, value, field));
SELECT is(reason, 'no_messaging_event', 'messaging has standard names only')
  FROM pg_temp.look(:'base' || $$, 'Mine' AS event_name, 'business_messaging' AS action_source,
       'messenger' AS messaging_channel, 1 AS page_id$$);

-- time
SELECT throws_like($$SELECT pg_temp.look('now()::timestamp AS event_time, 1 AS value')$$,
        'event_time is a timestamp without time zone', 'a naive timestamp needs a zone');
SELECT throws_like($$SELECT pg_temp.look('now() AS event_time', ', time_zone => ''Mars/Phobos''')$$,
        'unknown time_zone%', 'the zone must exist');
SELECT is((event ->> 'event_time')::bigint, floor(extract(epoch FROM date_trunc('second', now() - interval '1 hour')))::bigint,
        'a naive timestamp is in the source''s zone')
  FROM pg_temp.look($$date_trunc('second', now() - interval '1 hour') AT TIME ZONE 'Asia/Tokyo' AS event_time,
       'a@b.de' AS em, 'Lead' AS event_name$$, ', time_zone => ''Asia/Tokyo''');
SET LOCAL timezone = 'America/New_York';
SELECT is((event ->> 'event_time')::bigint, floor(extract(epoch FROM date_trunc('second', now() - interval '1 hour')))::bigint,
        'and not in the session''s')
  FROM pg_temp.look($$date_trunc('second', now() - interval '1 hour') AT TIME ZONE 'Asia/Tokyo' AS event_time,
       'a@b.de' AS em, 'Lead' AS event_name$$, ', time_zone => ''Asia/Tokyo''');
RESET timezone;
SELECT is((event ->> 'event_time')::bigint, floor(extract(epoch FROM now()))::bigint - 60, what)
  FROM (VALUES ('(floor(extract(epoch FROM now())) - 60)::bigint', 'whole seconds'),
               ('extract(epoch FROM date_trunc(''second'', now())) - 60', 'numeric seconds'),
               ('(extract(epoch FROM date_trunc(''second'', now())) - 60)::float8 + 0.25', 'seconds with a fraction'),
               ('(floor(extract(epoch FROM now())) - 60)::bigint * 1000', 'milliseconds')) AS v (expr, what),
       pg_temp.look(expr || $$ AS event_time, 'a@b.de' AS em, 'Lead' AS event_name$$);
SELECT is(problems[1], '{"field": "event_time", "problem": "in milliseconds, sent in seconds"}', 'milliseconds are named')
  FROM pg_temp.look($$extract(epoch FROM now()) * 1000 AS event_time, 'a@b.de' AS em, 'Lead' AS event_name$$);
SELECT is(reason, 'in_the_future', 'an hour ahead')
  FROM pg_temp.look($$now() + interval '1 hour' AS event_time, 'a@b.de' AS em, 'Lead' AS event_name$$);
SELECT is(reason, 'no_event_time', what)
  FROM (VALUES ('NULL::timestamptz', 'null'), ('''infinity''::timestamptz', 'infinite'),
               ('''NaN''::float8', 'not a number')) AS v (expr, what),
       pg_temp.look(expr || $$ AS event_time, 'a@b.de' AS em, 'Lead' AS event_name$$);

-- amounts
SELECT is(event -> 'custom_data' ->> 'value', want, what)
  FROM (VALUES ('6480', '''2''', '64.8', 'two decimals'), ('6400', '''2''', '64', 'none left'),
               ('5', '''3''', '0.005', 'less than one'), ('-150', '''2''', '-1.5', 'negative'),
               ('0', '''2''', '0', 'nothing'), ('64.8000000000000000', 'NULL', '64.8', 'no trailing zeros'),
               ('1e3::float8', 'NULL', '1000', 'no exponent'),
               ('(0.1::float8 + 0.2::float8)', 'NULL', '0.30000000000000004', 'the very number')) AS v (expr, units, want, what),
       pg_temp.look(:'base' || format(', %s AS value, ''EUR'' AS currency', expr),
                    format(', minor_units => %s', units));
SELECT is(event -> 'custom_data' ->> 'value', want, 'as many as ' || code || ' has')
  FROM (VALUES ('EUR', '12.99'), ('jpy', '1299'), ('KWD', '1.299')) AS v (code, want),
       pg_temp.look(:'base' || format(', 1299 AS value, %L AS currency', code), ', minor_units => ''currency''');
SELECT is(event -> 'custom_data' -> 'contents' -> 0 -> 'item_price', '12.99', 'prices of items too')
  FROM pg_temp.look(:'base' || $$, 1299 AS value, 'EUR' AS currency, '[{"id": 1, "item_price": 1299}]'::jsonb AS contents$$,
                    ', minor_units => ''2''');
SELECT is(reason, 'no_value', 'a value that is no number')
  FROM pg_temp.look(:'base' || $$, 'NaN'::float8 AS value, 'EUR' AS currency$$);
SELECT throws_like($$SELECT pg_temp.look('now() AS event_time', ', minor_units => ''cents''')$$,
        'invalid minor_units%', 'minor_units is checked');
SELECT throws_like($$SELECT pg_temp.look('now() AS event_time, 1 AS colour')$$,
        '%unknown column%colour%', 'unknown columns are refused');
SELECT is(event ->> 'event_id', '{7}', 'an array as event_id is its text')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, ARRAY[7] AS event_id$$);

-- preview, value by value
SELECT is(f, ('{"field": "ph", "type": "text", "raw": "0171 2345678", "normalised": "491712345678",
        "sent": "' || pg_temp.sha('491712345678') || '", "problem": null}')::jsonb, 'preview shows the way of a value')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, '0171 2345678'::text AS ph, 'DE' AS country$$),
       jsonb_array_elements(fields) f WHERE f ->> 'field' = 'ph';
SELECT is(problem, 'empty', 'and why one is left out')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, ' '::text AS fn$$),
       capi.preview_fields('one', '1') WHERE field = 'fn';
SELECT is(p::text, '(1,,,,,,"ignored: no consent")', 'and why an order is no event')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'x'::text AS fn, 'no consent' AS ignore_reason$$),
       capi.preview_fields('one', '1') p;
SELECT is(count(*), 1::bigint, 'preview without a key shows the newest orders') FROM capi.preview('one');

-- match quality
CREATE TABLE many AS SELECT g AS id, now() - g * interval '1 hour' AS at,
       CASE WHEN g % 2 = 0 THEN 'u' || g || '@example.com' END AS em,
       '0171 234567' || g AS ph, CASE WHEN g % 4 = 0 THEN 'DE' END AS country
  FROM generate_series(1, 8) g;
ALTER TABLE many ADD PRIMARY KEY (id);
SELECT capi.attach(source => 'many', table_name => 'many', dataset => 'main', query =>
       'SELECT id AS key, at AS event_time, em, ph, country, 1 AS value, ''EUR'' AS currency FROM many');
SELECT results_eq($$SELECT field, orders, given, usable, share FROM capi.match_quality('many')
                     WHERE field IN ('em', 'ph', 'country', 'fbp')$$,
       $$VALUES ('em', 8::bigint, 4::bigint, 4::bigint, 0.5000), ('ph', 8, 8, 2, 0.2500),
                ('country', 8, 2, 2, 0.2500), ('fbp', 8, 0, 0, 0)$$, 'match quality of each key');
SELECT isnt(problem, NULL, 'and what is most often wrong') FROM capi.match_quality('many') WHERE field = 'ph';
SELECT is(orders, 3::bigint, 'only orders since then')
  FROM capi.match_quality('many', now() - interval '3 hours') WHERE field = 'em';

-- browser context
SELECT capi.set_context(order_key => '1', context => '{"fbp": "fb.1.1558571054389.1098115397",
       "fbclid": "IwAR2F-4_x0123456789", "client_ip_address": "203.0.113.9", "client_user_agent": "Mozilla/5.0",
       "event_source_url": "https://shop.example/thanks", "referrer_url": "https://www.facebook.com/"}');
SELECT is(event -> 'user_data' ->> 'fbp', 'fb.1.1558571054389.1098115397', 'context fills what the query leaves null')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, NULL::text AS fbp$$);
SELECT matches(event -> 'user_data' ->> 'fbc', '^fb\.1\.[0-9]{13}\.IwAR2F-4_x0123456789$', 'fbc is built from a raw click id')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name$$);
SELECT is(event ->> 'event_source_url', 'https://shop.example/x', 'the query goes first')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name, 'https://shop.example/x' AS event_source_url$$);
SELECT capi.set_context('1', '{"fbp": "nonsense", "client_user_agent": null, "client_ip_address": "not one"}');
SELECT is(fields ->> 'fbp', 'fb.1.1558571054389.1098115397', 'what is unusable changes nothing')
  FROM capi.context WHERE key = '1';
SELECT capi.set_context('1', '{"client_user_agent": "Other"}', source => 'one');
SELECT is(event -> 'user_data' ->> 'client_user_agent', 'Other', 'what is said of this source goes before what is said of all')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name$$);
SELECT capi.set_context('1', '{"consent": false}');
SELECT is(outcome || ': ' || reason, 'ignored: no consent', 'no consent, no event')
  FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name$$);
SELECT capi.set_context('1', '{"consent": true}');
SELECT is(outcome, 'delivered', 'consent given later') FROM pg_temp.look(:'base' || $$, 'Lead' AS event_name$$);
SELECT throws_ok($$SELECT capi.set_context('1', '{"email": "a@b.de"}')$$, '22023', NULL, 'unknown members are refused');
SELECT throws_ok($$SELECT capi.set_context('1', '{"consent": "no"}')$$, '22023', NULL, 'consent is a boolean');
SELECT throws_ok($$SELECT capi.set_context('1', '[]')$$, '22023', NULL, 'context is an object');
SELECT throws_ok($$SELECT capi.set_context('', '{}')$$, '22023', NULL, 'order_key is not empty');
SELECT throws_ok($$SELECT capi.set_context('1', '{}', 'nowhere')$$, '42704', NULL, 'the source exists');

-- the pixel's call
SELECT outcome AS ignored FROM pg_temp.look(:'base' || $$, 64.80 AS value, 'eur' AS currency, '{a,b}'::text[] AS content_ids,
       '</script><!-- ' || U&'\2028' || '"' AS content_name, 'Ü' AS ln$$) \gset
SELECT is(capi.pixel_event('one', '1') - 'parameters', '{"event_name": "Purchase", "event_id": "1"}', 'pixel: name and id');
SELECT is((capi.pixel_event('one', '1') -> 'parameters') - 'content_name',
        '{"value": 64.8, "currency": "EUR", "content_ids": ["a", "b"]}', 'pixel: parameters, nothing of the customer''s');
SELECT unalike(capi.pixel_event('one', '1')::text, '%<%', 'pixel: inert in a page');
SELECT is(capi.pixel_event('one', '2'), NULL, 'pixel: no call for an order that is not sent');

-- capi.send
SELECT lives_ok($$SELECT capi.send('main', '{"event_name": "Lead", "event_id": "l1", "action_source": "email",
        "user_data": {"em": ["A@b.de", "a@b.de"], "ph": "+49 171 2345678", "client_user_agent": "M"},
        "custom_data": {"value": 3.50, "currency": "EUR", "colour": "red", "contents": [{"id": 1}]}}')$$,
        'an event in Meta''s shape');
SELECT is((convert_from(event, 'UTF8')::jsonb) - 'event_time', jsonb_build_object('event_name', 'Lead', 'event_id', 'l1',
        'action_source', 'email', 'user_data', jsonb_build_object('em', jsonb_build_array(pg_temp.sha('a@b.de')),
        'ph', jsonb_build_array(pg_temp.sha('491712345678')), 'client_user_agent', 'M'),
        'custom_data', '{"value": 3.5, "currency": "EUR", "colour": "red", "contents": [{"id": "1"}]}'::jsonb),
        'is stored hashed, once, with its free properties') FROM capi.direct_event WHERE key = 'l1';
SELECT is(capi.send('main', '{"event_name": "Lead", "event_id": "l1", "user_data": {"em": "x@y.de"}}'),
        (SELECT id FROM capi.direct_event WHERE key = 'l1'), 'the same id of the same name is the same event');
SELECT isnt(capi.send('main', '{"event_name": "Contact", "user_data": {"em": "x@y.de"}}', 'l1'),
        (SELECT id FROM capi.direct_event WHERE key = 'l1' AND event_name = 'Lead'), 'another name is another event');
SELECT is((SELECT count(*) FROM capi.delivery_status WHERE source LIKE 'send:main:%' AND status = 'queued'), 2::bigint,
        'they wait like any other');
SELECT throws_ok(format('SELECT capi.send(''main'', %L)', event), '22023', NULL, what)
  FROM (VALUES ('{"event_name": "Lead", "colour": 1}', 'unknown member of the event'),
               ('{"event_name": "Lead", "user_data": {"email": "a"}}', 'unknown member of user_data'),
               ('{"event_name": "Lead", "app_data": {"colour": 1}}', 'unknown member of app_data'),
               ('{"event_name": "Lead", "custom_data": {"contents": [{"id": 1, "name": "x"}]}}', 'unknown key of an item'),
               ('{"event_name": "Lead", "user_data": "x"}', 'user_data is an object'),
               ('{"event_name": "Lead", "user_data": {"fbp": ["a"]}}', 'one value, not a list'),
               ('{"user_data": {"em": "x@y.de"}}', 'no name'), ('[]', 'no object')) AS v (event, what);
SELECT throws_ok($$SELECT capi.send('nowhere', '{"event_name": "Lead"}')$$, '42704', NULL, 'the dataset exists');
SELECT lives_ok($$SELECT capi.send('main', '{"event_name": "Lead", "user_data": {"fn": "Ann"}}', 'thin')$$,
        'what Meta would refuse does not fail the caller');
SELECT is(reason, 'no_customer_data', 'but is known') FROM capi.direct_event WHERE key = 'thin';
SELECT throws_ok(format('SELECT capi.send(''main'', ''{"event_name": "Lead", "event_time": "%s"}'')', t), '22023', NULL,
        'no event_time: ' || t)
  FROM (VALUES (to_char(now(), 'YYYY-MM-DD HH24:MI:SS')), (to_char(now(), 'YYYY-MM-DD')), ('infinity'), ('nan'), ('soon')) AS v (t);
SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'event_time', t, 'user_data', '{"em": "x@y.de"}'::jsonb), k)
  FROM (VALUES ('time zone', to_jsonb(date_trunc('second', now()))), ('time number', to_jsonb(extract(epoch FROM now()))),
               ('time huge', to_jsonb(1e300)), ('time low', to_jsonb(-1e300))) AS v (k, t);
SELECT is(coalesce(e.reason, (convert_from(e.event, 'UTF8')::jsonb) ->> 'event_time'), want, key)
  FROM (VALUES ('time zone', floor(extract(epoch FROM now()))::text), ('time number', floor(extract(epoch FROM now()))::text),
               ('time huge', 'no_event_time'), ('time low', 'no_event_time')) AS v (key, want)
  LEFT JOIN capi.direct_event e USING (key);
SELECT throws_ok($$SELECT capi.attach(source => 'send:main:Lead', table_name => 'many', dataset => 'main')$$, '42939', NULL,
        'names of the sources of send() are reserved');

SELECT * FROM finish();
ROLLBACK;
