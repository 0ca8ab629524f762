-- Saleor 3.20 and newer: an order that was fully paid is a purchase.  README.md
-- beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  No variables.
SELECT capi.attach(
    source      => 'orders',
    table_name  => 'order_orderevent',
    dataset     => 'main',
    key_columns => '{order_id}',
    on_column   => 'type',
    on_values   => '{order_fully_paid,order_marked_as_paid}',
    query       => $query$
SELECT o.id AS key,
       paid.at AS event_time,
       CASE WHEN o.origin = 'draft' THEN 'other' ELSE 'website' END AS action_source,
       o.number::text AS order_id,
       round(o.total_gross_amount, cur.digits) AS value,
       o.currency,
       o.user_email AS em,
       -- numbers without calling code get that of the country below
       ARRAY[a.phone,
             CASE WHEN s.country = a.country OR left(btrim(s.phone), 1) = '+'
                  THEN s.phone END] AS ph,
       a.first_name AS fn,
       a.last_name AS ln,
       a.city AS ct,
       a.country_area AS st,
       a.postal_code AS zp,
       a.country AS country,
       o.user_id::text AS external_id,
       o.metadata ->> 'fbp' AS fbp,
       o.metadata ->> 'fbc' AS fbc,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.origin = 'bulk_create' THEN 'imported order'
            WHEN o.origin = 'reissue' THEN 'replacement for an earlier order'
            WHEN o.status = 'draft' THEN 'draft'
            WHEN o.status IN ('canceled', 'expired') THEN 'cancelled before it was sent'
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
  LEFT JOIN account_address s ON s.id = o.shipping_address_id
  LEFT JOIN account_address a ON a.id = coalesce(o.billing_address_id, o.shipping_address_id)
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
$query$);
