-- Shopify, mirrored by Airbyte: an order that was paid is a purchase.  README.md
-- beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v orders=shopify.orders -v sync=overwrite -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset), and the first sync to be
-- over.  Run again with the same variables, it changes the source that is there,
-- and no order is lost. What differs by connection:
--   orders        the table of the stream "orders"
--   sync          "incremental", deduped or not: rows are written into one table;
--                 "overwrite": each sync puts a new table in its place
--   only_address  whose an order's only address is: "buyer", or "unknown" when
--                 it may be that of whom a present is for
\set ON_ERROR_STOP on
\if :{?orders}
\else
\set orders orders
\endif
\if :{?sync}
\else
\set sync incremental
\endif
SELECT :'sync' IN ('incremental', 'overwrite') AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'sync must be incremental or overwrite'; END $$;
\endif
\if :{?only_address}
\else
\set only_address unknown
\endif
SELECT :'only_address' IN ('buyer', 'unknown') AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'only_address must be buyer or unknown'; END $$;
\endif

-- In the text of the query %1$s is the table, %2$L says whose the only address is.
SELECT format($query$
SELECT o.id AS key,
       -- of Shopify's times this one comes as text, with its offset
       coalesce(o.processed_at::timestamptz, o.created_at) AS event_time,
       CASE WHEN o.source_name = 'pos' THEN 'physical_store'
            WHEN sold.online THEN 'website'
            ELSE 'other' END AS action_source,
       o.name AS order_id,
       due.value,
       o.currency,
       coalesce(nullif(o.email, ''), o.customer ->> 'email') AS em,
       -- numbers without calling code get that of the country below
       ARRAY[a.address ->> 'phone',
             CASE WHEN left(btrim(o.phone), 1) = '+' OR a.address IS NOT NULL THEN o.phone END,
             CASE WHEN who.shipping = coalesce(who.billing, who.customer)
                       AND (o.shipping_address ->> 'country_code' = a.address ->> 'country_code'
                            OR left(btrim(o.shipping_address ->> 'phone'), 1) = '+')
                  THEN o.shipping_address ->> 'phone' END] AS ph,
       n.person ->> 'first_name' AS fn,
       n.person ->> 'last_name' AS ln,
       a.address ->> 'city' AS ct,
       coalesce(a.address ->> 'province_code', a.address ->> 'province') AS st,
       a.address ->> 'zip' AS zp,
       a.address ->> 'country_code' AS country,
       o.customer ->> 'id' AS external_id,
       -- the browser at a till, or of staff, is not the buyer's
       CASE WHEN sold.online THEN o.browser_ip END AS client_ip_address,
       CASE WHEN sold.online THEN o.client_details ->> 'user_agent' END AS client_user_agent,
       -- the page itself holds a key to the order: only whose page it is
       CASE WHEN sold.online
            THEN substring(o.order_status_url FROM '^https?://[^/?#]+') END AS event_source_url,
       note.fbp,
       note.fbc,
       CASE WHEN sold.online
            THEN substring(o.landing_site FROM '[?&]fbclid=([^&#]+)') END AS fbclid,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.test THEN 'test order'
            WHEN o.cancelled_at IS NOT NULL THEN 'cancelled before it was sent'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
  FROM (-- appended syncs have a row for each state of an order: the newest
        SELECT DISTINCT ON (x.id) x.*
          FROM %1$s x
         ORDER BY x.id, x._airbyte_extracted_at DESC, x.updated_at DESC) o
 CROSS JOIN LATERAL (
       SELECT o.source_name IS DISTINCT FROM 'pos'
              AND o.source_name IS DISTINCT FROM 'shopify_draft_order'
              AND o.browser_ip IS NOT NULL AS online) sold
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN o.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG',
                                       'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
                   WHEN o.currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
                   ELSE 2 END AS digits) cur
 CROSS JOIN LATERAL (
       -- refunds and edits change current_total_price, not this
       SELECT round(o.total_price, cur.digits) AS value) due
 CROSS JOIN LATERAL (
       SELECT CASE WHEN concat(o.billing_address ->> 'last_name', o.billing_address ->> 'city',
                               o.billing_address ->> 'zip') <> ''
                   THEN o.billing_address END AS billing) ad
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', ad.billing ->> 'first_name',
                                                          ad.billing ->> 'last_name')),
                                          '\s+', ' ', 'g')), '') AS billing,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', o.shipping_address ->> 'first_name',
                                                          o.shipping_address ->> 'last_name')),
                                          '\s+', ' ', 'g')), '') AS shipping,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', o.customer ->> 'first_name',
                                                          o.customer ->> 'last_name')),
                                          '\s+', ' ', 'g')), '') AS customer) who
 CROSS JOIN LATERAL (
       -- without a billing address the other one, if it names the customer
       SELECT CASE WHEN ad.billing IS NOT NULL THEN ad.billing
                   WHEN who.shipping = who.customer OR %2$L = 'buyer'
                   THEN o.shipping_address END AS address) a
 CROSS JOIN LATERAL (
       SELECT CASE WHEN concat(a.address ->> 'first_name', a.address ->> 'last_name') <> ''
                   THEN a.address ELSE o.customer END AS person) n
 CROSS JOIN LATERAL (
       -- a theme may put the cookies into the cart's attributes
       SELECT max(t ->> 'value') FILTER (WHERE t ->> 'name' IN ('fbp', '_fbp')) AS fbp,
              max(t ->> 'value') FILTER (WHERE t ->> 'name' IN ('fbc', '_fbc')) AS fbc
         FROM jsonb_array_elements(CASE jsonb_typeof(o.note_attributes) WHEN 'array'
                                   THEN o.note_attributes END) t) note
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT l.n,
                      coalesce(nullif(l.line ->> 'sku', ''), l.line ->> 'variant_id',
                               l.line ->> 'product_id', l.line ->> 'id') AS id,
                      (l.line ->> 'quantity')::numeric AS quantity,
                      round((l.line ->> 'price')::numeric, cur.digits) AS price
                 FROM jsonb_array_elements(o.line_items) WITH ORDINALITY l (line, n)
                WHERE (l.line ->> 'quantity')::numeric > 0) i) items
 -- refunds come after the payment; what was only authorised becomes voided
 WHERE o.financial_status IN ('paid', 'partially_refunded', 'refunded')
$query$, :'orders', :'only_address') AS query \gset

SELECT :'sync' = 'overwrite' AS overwrite \gset
\if :overwrite
-- A trigger goes with the table that a sync drops.  What a sync brought is noted
-- in a table that stays, by a function that is called after each of them.
CREATE TABLE IF NOT EXISTS shopify_paid_order (
    id       bigint PRIMARY KEY,
    noted_at timestamptz NOT NULL DEFAULT now()
);
SELECT format($function$
CREATE OR REPLACE FUNCTION shopify_note_orders() RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    noted bigint;
BEGIN
    INSERT INTO shopify_paid_order (id)
    SELECT DISTINCT o.id
      FROM %1$s o
     WHERE o.financial_status IN ('paid', 'partially_refunded', 'refunded')
       AND NOT EXISTS (SELECT FROM shopify_paid_order p WHERE p.id = o.id)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS noted = ROW_COUNT;
    RETURN noted;
END $$
$function$, :'orders') \gexec
\set watched shopify_paid_order
\else
\set watched :orders
\endif

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = :'watched'::regclass) AS attached \gset
\if :attached
    \if :overwrite
SELECT capi.alter_source(
    source      => 'orders',
    key_columns => '{id}',
    query       => :'query');
    \else
SELECT capi.alter_source(
    source      => 'orders',
    key_columns => '{id}',
    on_column   => 'financial_status',
    on_values   => '{paid,partially_refunded,refunded}',
    query       => :'query');
    \endif
\else
    \if :overwrite
-- what was paid before is none of ours
SELECT shopify_note_orders();
SELECT capi.attach(
    source      => 'orders',
    table_name  => :'watched',
    dataset     => 'main',
    key_columns => '{id}',
    query       => :'query');
    \else
SELECT capi.attach(
    source      => 'orders',
    table_name  => :'watched',
    dataset     => 'main',
    key_columns => '{id}',
    on_column   => 'financial_status',
    on_values   => '{paid,partially_refunded,refunded}',
    query       => :'query');
    \endif
\endif
