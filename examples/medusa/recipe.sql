-- Medusa v2: an order that was paid in full is a purchase.  README.md beside
-- this file says why, and what is left out.
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
       t.created_at AS event_time,
       CASE WHEN sold.online THEN 'website' ELSE 'other' END AS action_source,
       o.display_id::text AS order_id,
       round(least(pay.captured, due.amount), cur.digits) AS value,
       upper(o.currency_code) AS currency,
       o.email AS em,
       ad.phones AS ph,
       CASE WHEN concat(a.first_name, a.last_name) <> '' THEN a.first_name
            ELSE buyer.first_name END AS fn,
       CASE WHEN concat(a.first_name, a.last_name) <> '' THEN a.last_name
            ELSE buyer.last_name END AS ln,
       a.city AS ct,
       a.province AS st,
       a.postal_code AS zp,
       a.country_code AS country,
       o.customer_id AS external_id,
       o.metadata ->> 'fbp' AS fbp,
       o.metadata ->> 'fbc' AS fbc,
       coalesce(o.metadata ->> 'client_ip_address', o.metadata ->> 'ip') AS client_ip_address,
       coalesce(o.metadata ->> 'client_user_agent', o.metadata ->> 'user_agent') AS client_user_agent,
       o.metadata ->> 'event_source_url' AS event_source_url,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.status = 'canceled' OR o.canceled_at IS NOT NULL
            THEN 'cancelled before it was sent'
            WHEN o.is_draft_order THEN 'draft'
            WHEN round(due.amount, cur.digits) = 0 THEN 'free of charge'
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
 CROSS JOIN LATERAL (
       -- refunds have a reference of their own and negative amounts
       SELECT sum(c.amount) AS captured,
              sum(c.amount) FILTER (WHERE (c.created_at, c.id) < (t.created_at, t.id)) AS before,
              min(c.version) AS version,
              min(c.created_at) AS at
         FROM order_transaction c
        WHERE c.order_id = o.id AND c.reference = 'capture' AND c.amount > 0
          AND c.deleted_at IS NULL) pay
  LEFT JOIN LATERAL (
       -- what the customer was to pay when the first money came.  An edit
       -- before that cancels the payment collection for one of the new amount;
       -- refunds and cancellations leave the amount as it is
       SELECT pc.amount
         FROM order_payment_collection l
         JOIN payment_collection pc ON pc.id = l.payment_collection_id
        WHERE l.order_id = o.id AND l.deleted_at IS NULL AND pc.deleted_at IS NULL
          AND pc.created_at <= pay.at
          AND (pc.status <> 'canceled' OR pc.captured_amount > 0)
        ORDER BY pc.created_at DESC, pc.id DESC LIMIT 1) asked ON true
 CROSS JOIN LATERAL (
       SELECT coalesce(asked.amount, s.original) AS amount,
              trunc(coalesce(asked.amount, s.original, 0), cur.digits) AS coins) due
 CROSS JOIN LATERAL (
       -- what staff type in has no cart
       SELECT EXISTS (SELECT FROM order_cart l WHERE l.order_id = o.id) AS online) sold
  LEFT JOIN LATERAL (
       SELECT b.*, nullif(lower(regexp_replace(btrim(concat_ws(' ', b.first_name, b.last_name)),
                                               '\s+', ' ', 'g')), '') AS name
         FROM order_address b
        WHERE b.id = o.billing_address_id
          -- a storefront may send one with nothing in it
          AND coalesce(b.last_name, '') || coalesce(b.city, '') || coalesce(b.postal_code, '') <> '') bill ON true
  LEFT JOIN LATERAL (
       SELECT x.*, nullif(lower(regexp_replace(btrim(concat_ws(' ', x.first_name, x.last_name)),
                                               '\s+', ' ', 'g')), '') AS name
         FROM order_address x
        WHERE x.id = o.shipping_address_id) ship ON true
  LEFT JOIN LATERAL (
       -- a guest has no more than the e-mail here
       SELECT c.first_name, c.last_name, c.phone,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', c.first_name, c.last_name)),
                                          '\s+', ' ', 'g')), '') AS name
         FROM customer c
        WHERE c.id = o.customer_id AND lower(c.email) = lower(o.email)) buyer ON true
  LEFT JOIN LATERAL (
       -- without a billing address the other one, if it names the buyer
       SELECT x.*
         FROM order_address x
        WHERE x.id = CASE WHEN bill.id IS NOT NULL THEN bill.id
                          WHEN ship.name = buyer.name OR %1$L = 'buyer' THEN ship.id END) a ON true
 CROSS JOIN LATERAL (
       -- numbers without calling code get that of the country above
       SELECT array_agg(p.phone ORDER BY p.n) AS phones
         FROM (VALUES (1, buyer.phone, a.country_code),
                      (2, a.phone, a.country_code),
                      (3, CASE WHEN ship.name = coalesce(bill.name, buyer.name)
                               THEN ship.phone END, ship.country_code)) p (n, phone, country)
        WHERE p.phone <> ''
          AND (p.n = 2 OR p.country = a.country_code OR left(btrim(p.phone), 1) = '+')) ad
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
$query$, :'only_address') AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = 'order_transaction'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source      => 'orders',
    key_columns => '{order_id}',
    on_column   => 'reference',
    on_values   => '{capture}',
    query       => :'query');
\else
SELECT capi.attach(
    source      => 'orders',
    table_name  => 'order_transaction',
    dataset     => 'main',
    key_columns => '{order_id}',
    on_column   => 'reference',
    on_values   => '{capture}',
    query       => :'query');
\endif
