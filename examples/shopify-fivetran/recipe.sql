-- Shopify, mirrored by Fivetran: an order that was paid is a purchase.  README.md
-- beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v schema=shopify_eu -v api=graphql -v hold='30 minutes' -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset), and the first sync to be
-- over.  Run again with the same variables, it changes the source that is there,
-- and no order is lost. What differs by connection:
--   schema        where Fivetran writes
--   api           of Shopify's that the connection reads: "rest" or "graphql", which
--                 name some columns otherwise
--   hold          longer than a sync takes: it writes the lines of an order after
--                 the order
--   only_address  whose an order's only address is: "buyer", or "unknown" when
--                 it may be that of whom a present is for
\set ON_ERROR_STOP on
\if :{?schema}
\else
\set schema shopify
\endif
\if :{?api}
\else
\set api rest
\endif
SELECT :'api' IN ('rest', 'graphql') AS known, :'api' = 'graphql' AS graphql \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'api must be rest or graphql'; END $$;
\endif
\if :{?hold}
\else
\set hold '15 minutes'
\endif
SELECT :'hold' ~ '^0$|[a-z]' AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'hold must have its unit, 15 minutes say'; END $$;
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

\if :graphql
\set renamed ', lower(x.display_financial_status) AS financial_status, x.total_price_set_shop_amount AS total_price, x.currency_code AS currency, x.client_ip AS browser_ip, x.status_page_url AS order_status_url, NULL AS client_details_user_agent, NULL AS landing_site_base_url'
\set place id
\set price original_unit_price_set_shop_amount
\set status display_financial_status
\set paid '{PAID,PARTIALLY_REFUNDED,REFUNDED}'
\else
\set renamed ''
\set place index
\set price price
\set status financial_status
\set paid '{paid,partially_refunded,refunded}'
\endif

-- In the text of the query %1$I is the schema, %2$L says whose the only address is,
-- and the others are what the columns are called.
SELECT format($query$
SELECT o.id AS key,
       coalesce(o.processed_at, o.created_at) AS event_time,
       CASE WHEN o.source_name = 'pos' THEN 'physical_store'
            WHEN sold.online THEN 'website'
            ELSE 'other' END AS action_source,
       o.name AS order_id,
       due.value,
       o.currency,
       coalesce(nullif(o.email, ''), c.email) AS em,
       -- numbers without calling code get that of the country below
       ARRAY[a.phone,
             CASE WHEN who.shipping = coalesce(who.billing, who.customer)
                       AND (o.shipping_address_country_code = a.country
                            OR left(btrim(o.shipping_address_phone), 1) = '+')
                  THEN o.shipping_address_phone END] AS ph,
       CASE WHEN concat(a.first_name, a.last_name) <> '' THEN a.first_name
            ELSE c.first_name END AS fn,
       CASE WHEN concat(a.first_name, a.last_name) <> '' THEN a.last_name
            ELSE c.last_name END AS ln,
       a.city AS ct,
       a.province AS st,
       a.zip AS zp,
       a.country,
       o.customer_id::text AS external_id,
       -- the browser at a till, or of staff, is not the buyer's
       CASE WHEN sold.online THEN o.browser_ip END AS client_ip_address,
       CASE WHEN sold.online THEN o.client_details_user_agent END AS client_user_agent,
       -- the page itself holds a key to the order: only whose page it is
       CASE WHEN sold.online
            THEN substring(o.order_status_url FROM '^https?://[^/?#]+') END AS event_source_url,
       CASE WHEN sold.online
            THEN substring(o.landing_site_base_url FROM '[?&]fbclid=([^&#]+)') END AS fbclid,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.test THEN 'test order'
            WHEN o.cancelled_at IS NOT NULL THEN 'cancelled before it was sent'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
  -- _fivetran_deleted says nothing while Fivetran syncs a table anew
  FROM (SELECT x.*%3$s
          FROM %1$I."order" x) o
  LEFT JOIN %1$I.customer c ON c.id = o.customer_id
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
       SELECT round(o.total_price::numeric, cur.digits) AS value) due
 CROSS JOIN LATERAL (
       SELECT concat(o.billing_address_last_name, o.billing_address_city,
                     o.billing_address_zip) <> '' AS given) bill
 CROSS JOIN LATERAL (
       SELECT CASE WHEN bill.given
                   THEN nullif(lower(regexp_replace(btrim(concat_ws(' ', o.billing_address_first_name,
                                                                    o.billing_address_last_name)),
                                                    '\s+', ' ', 'g')), '') END AS billing,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', o.shipping_address_first_name,
                                                          o.shipping_address_last_name)),
                                          '\s+', ' ', 'g')), '') AS shipping,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', c.first_name, c.last_name)),
                                          '\s+', ' ', 'g')), '') AS customer) who
  -- without a billing address the other one, if it names the customer
  LEFT JOIN LATERAL (
       SELECT o.billing_address_first_name AS first_name, o.billing_address_last_name AS last_name,
              o.billing_address_city AS city, o.billing_address_zip AS zip,
              coalesce(o.billing_address_province_code, o.billing_address_province) AS province,
              o.billing_address_country_code AS country, o.billing_address_phone AS phone
        WHERE bill.given
        UNION ALL
       SELECT o.shipping_address_first_name, o.shipping_address_last_name,
              o.shipping_address_city, o.shipping_address_zip,
              coalesce(o.shipping_address_province_code, o.shipping_address_province),
              o.shipping_address_country_code, o.shipping_address_phone
        WHERE NOT bill.given AND (who.shipping = who.customer OR %2$L = 'buyer')) a ON true
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT l.%4$I AS n,
                      coalesce(nullif(l.sku, ''), l.variant_id::text, l.product_id::text,
                               l.id::text) AS id,
                      l.quantity,
                      round(l.%5$I::numeric, cur.digits) AS price
                 FROM %1$I.order_line l
                WHERE l.order_id = o.id AND l.quantity > 0) i) items
 -- refunds come after the payment; what was only authorised becomes voided
 WHERE o.financial_status IN ('paid', 'partially_refunded', 'refunded')
$query$, :'schema', :'only_address', :'renamed', :'place', :'price') AS query,
       format('%I."order"', :'schema') AS watched \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = :'watched'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source      => 'orders',
    key_columns => '{id}',
    on_column   => :'status',
    on_values   => :'paid',
    hold        => :'hold',
    query       => :'query');
\else
SELECT capi.attach(
    source      => 'orders',
    table_name  => :'watched',
    dataset     => 'main',
    key_columns => '{id}',
    on_column   => :'status',
    on_values   => :'paid',
    hold        => :'hold',
    query       => :'query');
\endif
