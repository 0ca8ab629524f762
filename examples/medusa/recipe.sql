-- Medusa v2: an order that was paid in full is a purchase.  README.md beside
-- this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  No variables.
SELECT capi.attach(
    source      => 'orders',
    table_name  => 'order_transaction',
    dataset     => 'main',
    key_columns => '{order_id}',
    on_column   => 'reference',
    on_values   => '{capture}',
    query       => $query$
SELECT o.id AS key,
       t.created_at AS event_time,
       o.display_id::text AS order_id,
       round(least(pay.captured, due.amount), cur.digits) AS value,
       upper(o.currency_code) AS currency,
       o.email AS em,
       ad.phones AS ph,
       a.first_name AS fn,
       a.last_name AS ln,
       a.city AS ct,
       a.province AS st,
       a.postal_code AS zp,
       a.country_code AS country,
       o.customer_id AS external_id,
       o.metadata ->> 'fbp' AS fbp,
       o.metadata ->> 'fbc' AS fbc,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.status = 'canceled' OR o.canceled_at IS NOT NULL
            THEN 'cancelled before it was sent'
            WHEN o.is_draft_order THEN 'draft'
            -- amounts are not rounded: what is less than the smallest coin is
            -- not owed.  An order that was edited down is paid when nothing is
            -- pending; totals of former drafts lack the tax and prove nothing
            WHEN pay.captured < due.coins
                 AND NOT coalesce(s.original >= due.amount AND s.pending <= 0, false)
            THEN 'part paid'
            END AS ignore_reason
  FROM order_transaction t
  JOIN "order" o ON o.id = t.order_id
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN upper(o.currency_code) IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF',
                                                   'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV',
                                                   'XAF', 'XOF', 'XPF') THEN 0
                   WHEN upper(o.currency_code) IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND')
                   THEN 3
                   ELSE 2 END AS digits) cur
  LEFT JOIN LATERAL (
       SELECT (s.totals ->> 'original_order_total')::numeric AS original,
              (s.totals ->> 'pending_difference')::numeric AS pending
         FROM order_summary s
        WHERE s.order_id = o.id AND s.deleted_at IS NULL
        ORDER BY s.version DESC LIMIT 1) s ON true
  LEFT JOIN LATERAL (
       -- what the customer was to pay; later edits have payment collections of
       -- their own, refunds and cancellations leave the amount as it is
       SELECT pc.amount
         FROM order_payment_collection l
         JOIN payment_collection pc ON pc.id = l.payment_collection_id
        WHERE l.order_id = o.id AND l.deleted_at IS NULL AND pc.deleted_at IS NULL
        ORDER BY pc.created_at, pc.id LIMIT 1) first ON true
 CROSS JOIN LATERAL (
       SELECT coalesce(first.amount, s.original) AS amount,
              trunc(coalesce(first.amount, s.original, 0), cur.digits) AS coins) due
 CROSS JOIN LATERAL (
       -- refunds have a reference of their own and negative amounts
       SELECT sum(c.amount) AS captured,
              sum(c.amount) FILTER (WHERE (c.created_at, c.id) < (t.created_at, t.id)) AS before,
              min(c.version) AS version
         FROM order_transaction c
        WHERE c.order_id = o.id AND c.reference = 'capture' AND c.amount > 0
          AND c.deleted_at IS NULL) pay
  LEFT JOIN LATERAL (
       -- the billing address, unless there is none or nothing in it
       SELECT a.*
         FROM order_address a
        WHERE a.id IN (o.billing_address_id, o.shipping_address_id)
        ORDER BY coalesce(a.last_name, '') || coalesce(a.city, '') || coalesce(a.postal_code, '') = '',
                 a.id = o.shipping_address_id
        LIMIT 1) a ON true
 CROSS JOIN LATERAL (
       -- numbers without calling code get that of the country above
       SELECT array_agg(p.phone ORDER BY p.id = o.shipping_address_id) AS phones
         FROM order_address p
        WHERE p.id IN (o.billing_address_id, o.shipping_address_id)
          AND (p.country_code IS NOT DISTINCT FROM a.country_code
               OR left(btrim(p.phone), 1) = '+')) ad
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT row_number() OVER (ORDER BY l.created_at, l.id) AS n,
                      coalesce(nullif(l.variant_sku, ''), l.variant_id, l.product_id, l.id) AS id,
                      v.quantity,
                      round(coalesce(v.unit_price, l.unit_price), cur.digits) AS price
                 FROM order_item v
                 JOIN order_line_item l ON l.id = v.item_id
                WHERE v.order_id = o.id AND v.deleted_at IS NULL AND v.quantity > 0
                  -- each version of an order has all of its lines: those of
                  -- the one that was paid
                  AND v.version = (SELECT max(x.version)
                                     FROM order_item x
                                    WHERE x.order_id = o.id AND x.deleted_at IS NULL
                                      AND x.version <= pay.version)) i) items
 -- one capture of each order: that with which it was paid, or else the last
 WHERE o.deleted_at IS NULL
   AND t.reference = 'capture' AND t.amount > 0 AND t.deleted_at IS NULL
   AND CASE WHEN pay.captured < due.coins
            THEN coalesce(pay.before, 0) + t.amount = pay.captured
            ELSE coalesce(pay.before, 0) + t.amount >= due.coins
                 AND (pay.before IS NULL OR pay.before < due.coins) END
$query$);
