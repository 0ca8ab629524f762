-- Spree 5: an order that was paid is a purchase.  README.md beside this file
-- says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  No variables: Rails keeps
-- its timestamps in UTC.
SELECT capi.attach(
    source     => 'orders',
    table_name => 'spree_orders',
    dataset    => 'main',
    on_column  => 'payment_state',
    on_values  => '{paid,credit_owed}',
    query      => $query$
SELECT o.id AS key,
       -- completed_at is touched last, in a transaction of its own perhaps
       coalesce(o.completed_at, o.updated_at) AT TIME ZONE 'UTC' AS event_time,
       o.number AS order_id,
       round(coalesce(pay.paid, o.total), cur.digits) AS value,
       o.currency,
       o.email AS em,
       -- numbers without calling code get that of the country below
       ARRAY[a.phone,
             CASE WHEN s.country_id = a.country_id OR left(btrim(s.phone), 1) = '+'
                  THEN s.phone END] AS ph,
       a.firstname AS fn,
       a.lastname AS ln,
       a.city AS ct,
       coalesce(r.abbr, a.state_name) AS st,
       a.zipcode AS zp,
       c.iso AS country,
       o.user_id::text AS external_id,
       o.last_ip_address AS client_ip_address,
       coalesce(o.private_metadata ->> 'fbp', o.public_metadata ->> 'fbp') AS fbp,
       coalesce(o.private_metadata ->> 'fbc', o.public_metadata ->> 'fbc') AS fbc,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.state = 'canceled' THEN 'cancelled before it was sent' END AS ignore_reason
  FROM spree_orders o
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN upper(o.currency) IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW',
                                              'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF',
                                              'XPF') THEN 0
                   WHEN upper(o.currency) IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
                   ELSE 2 END AS digits) cur
 CROSS JOIN LATERAL (
       -- what was paid: refunds are rows of their own, total follows edits
       SELECT sum(p.amount) AS paid
         FROM spree_payments p
        WHERE p.order_id = o.id AND p.state = 'completed') pay
  LEFT JOIN spree_addresses s ON s.id = o.ship_address_id
  LEFT JOIN spree_addresses a ON a.id = coalesce(o.bill_address_id, o.ship_address_id)
  LEFT JOIN spree_countries c ON c.id = a.country_id
  LEFT JOIN spree_states r ON r.id = a.state_id
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT l.id AS n,
                      coalesce(nullif(v.sku, ''), l.variant_id::text) AS id,
                      l.quantity,
                      round(l.price, cur.digits) AS price
                 FROM spree_line_items l
                 LEFT JOIN spree_variants v ON v.id = l.variant_id
                WHERE l.order_id = o.id AND l.quantity > 0) i) items
 -- paid now; or paid and refunded since; or paid and cancelled since, when the
 -- payments are void and only the log still tells
 WHERE o.payment_state IN ('paid', 'credit_owed')
    OR (o.completed_at IS NOT NULL AND pay.paid >= o.total)
    OR (o.state = 'canceled'
        AND EXISTS (SELECT FROM spree_state_changes h
                     WHERE h.stateful_type = 'Spree::Order' AND h.stateful_id = o.id
                       AND h.name = 'payment' AND h.next_state IN ('paid', 'credit_owed')))
$query$);
