-- Saleor 3.20 and newer: an order that was fully paid is a purchase.  README.md
-- beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  Run again with the same
-- variables, it changes the source that is there, and no order is lost.  What
-- differs by shop:
--   only_address  whose an order's only address is: "buyer", or "unknown" when
--                 it may be that of whom a present is for
\set ON_ERROR_STOP on
\if :{?only_address}
\else
\set only_address unknown
\endif
SELECT :'only_address' IN ('buyer', 'unknown') AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'only_address must be buyer or unknown'; END $$;
\endif

-- In the text of the query %1$L says whose the only address is.
SELECT format($query$
SELECT o.id AS key,
       paid.at AS event_time,
       CASE WHEN o.origin = 'draft' THEN 'other' ELSE 'website' END AS action_source,
       o.number::text AS order_id,
       due.value,
       o.currency,
       o.user_email AS em,
       -- numbers without calling code get that of the country below
       ARRAY[a.phone,
             CASE WHEN ship.name = coalesce(bill.name, buyer.name)
                       AND (s.country = a.country OR left(btrim(s.phone), 1) = '+')
                  THEN s.phone END] AS ph,
       CASE WHEN concat(a.first_name, a.last_name) <> '' THEN a.first_name
            ELSE buyer.first_name END AS fn,
       CASE WHEN concat(a.first_name, a.last_name) <> '' THEN a.last_name
            ELSE buyer.last_name END AS ln,
       a.city AS ct,
       a.country_area AS st,
       a.postal_code AS zp,
       a.country AS country,
       o.user_id::text AS external_id,
       o.metadata ->> 'fbp' AS fbp,
       o.metadata ->> 'fbc' AS fbc,
       o.metadata ->> 'client_ip_address' AS client_ip_address,
       o.metadata ->> 'client_user_agent' AS client_user_agent,
       o.metadata ->> 'event_source_url' AS event_source_url,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.origin = 'bulk_create' THEN 'imported order'
            WHEN o.origin = 'reissue' THEN 'replacement for an earlier order'
            WHEN o.status = 'draft' THEN 'draft'
            WHEN o.status IN ('canceled', 'expired') THEN 'cancelled before it was sent'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
  FROM (-- the first of these entries
        SELECT e.order_id, e.date AS at
          FROM order_orderevent e
         WHERE e.type IN ('order_fully_paid', 'order_marked_as_paid')
           AND NOT EXISTS (SELECT FROM order_orderevent x
                            WHERE x.order_id = e.order_id
                              AND x.type IN ('order_fully_paid', 'order_marked_as_paid')
                              AND (x.date, x.id) < (e.date, e.id))
         UNION ALL
        -- orders whose entry in the log got lost between the payment and it
        SELECT o.id, o.created_at
          FROM order_order o
         WHERE o.charge_status IN ('full', 'overcharged')
           AND o.total_charged_amount >= o.total_gross_amount
           AND o.origin IN ('checkout', 'draft') AND o.status <> 'draft'
           AND NOT EXISTS (SELECT FROM order_orderevent x
                            WHERE x.order_id = o.id
                              AND x.type IN ('order_fully_paid', 'order_marked_as_paid'))) paid
  JOIN order_order o ON o.id = paid.order_id
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN o.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG',
                                       'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
                   WHEN o.currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
                   ELSE 2 END AS digits) cur
 CROSS JOIN LATERAL (
       SELECT round(o.total_gross_amount, cur.digits) AS value) due
  LEFT JOIN LATERAL (
       -- the account, unless the order has another e-mail
       SELECT nullif(u.first_name, '') AS first_name, nullif(u.last_name, '') AS last_name,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', u.first_name, u.last_name)),
                                          '\s+', ' ', 'g')), '') AS name
         FROM account_user u
        WHERE u.id = o.user_id AND lower(u.email) = lower(o.user_email)) buyer ON true
  LEFT JOIN account_address b ON b.id = o.billing_address_id
  LEFT JOIN account_address s ON s.id = o.shipping_address_id
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', b.first_name, b.last_name)),
                                          '\s+', ' ', 'g')), '') AS name) bill
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', s.first_name, s.last_name)),
                                          '\s+', ' ', 'g')), '') AS name) ship
  -- without a billing address the other one, if it names the buyer
  LEFT JOIN account_address a
         ON a.id = CASE WHEN b.id IS NOT NULL THEN b.id
                        WHEN ship.name = buyer.name OR %1$L = 'buyer' THEN s.id END
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT row_number() OVER (ORDER BY l.created_at, l.id) AS n,
                      coalesce(nullif(l.product_sku, ''), l.product_variant_id, l.id::text) AS id,
                      l.quantity,
                      round(l.unit_price_gross_amount, cur.digits) AS price
                 FROM order_orderline l
                WHERE l.order_id = o.id AND NOT l.is_gift) i) items
$query$, :'only_address') AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = 'order_orderevent'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source      => 'orders',
    key_columns => '{order_id}',
    on_column   => 'type',
    on_values   => '{order_fully_paid,order_marked_as_paid}',
    query       => :'query');
\else
SELECT capi.attach(
    source      => 'orders',
    table_name  => 'order_orderevent',
    dataset     => 'main',
    key_columns => '{order_id}',
    on_column   => 'type',
    on_values   => '{order_fully_paid,order_marked_as_paid}',
    query       => :'query');
\endif
