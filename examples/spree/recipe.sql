-- Spree 5: an order that was paid is a purchase.  README.md beside this file
-- says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  Run again with the same
-- variables, it changes the source that is there, and no order is lost.  Rails
-- keeps its timestamps in UTC.  What differs by shop:
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
       -- completed_at is touched last, in a transaction of its own perhaps
       coalesce(o.completed_at, o.updated_at) AS event_time,
       CASE WHEN sold.by_staff THEN 'other' ELSE 'website' END AS action_source,
       o.number AS order_id,
       due.value,
       o.currency,
       o.email AS em,
       -- numbers without calling code get that of the country below
       ARRAY[a.phone,
             CASE WHEN ship.name = bill.name
                       AND (s.country_id = a.country_id OR left(btrim(s.phone), 1) = '+')
                  THEN s.phone END] AS ph,
       a.firstname AS fn,
       a.lastname AS ln,
       a.city AS ct,
       coalesce(r.abbr, a.state_name) AS st,
       a.zipcode AS zp,
       c.iso AS country,
       o.user_id::text AS external_id,
       CASE WHEN NOT sold.by_staff
            THEN coalesce(o.last_ip_address, meta.data ->> 'client_ip_address') END AS client_ip_address,
       meta.data ->> 'client_user_agent' AS client_user_agent,
       meta.data ->> 'event_source_url' AS event_source_url,
       meta.data ->> 'fbp' AS fbp,
       meta.data ->> 'fbc' AS fbc,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.state = 'canceled' THEN 'cancelled before it was sent'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
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
 CROSS JOIN LATERAL (
       SELECT round(coalesce(pay.paid, o.total), cur.digits) AS value) due
 CROSS JOIN LATERAL (
       -- an order that somebody else than the customer began
       SELECT o.created_by_id IS NOT NULL
              AND o.created_by_id IS DISTINCT FROM o.user_id AS by_staff) sold
 CROSS JOIN LATERAL (
       SELECT coalesce(o.public_metadata, '{}') || coalesce(o.private_metadata, '{}') AS data) meta
  LEFT JOIN spree_addresses s ON s.id = o.ship_address_id
  -- without a billing address nothing says whose the other one is
  LEFT JOIN spree_addresses a ON a.id = coalesce(o.bill_address_id,
                                                 CASE WHEN %1$L = 'buyer' THEN o.ship_address_id END)
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', a.firstname, a.lastname)),
                                          '\s+', ' ', 'g')), '') AS name) bill
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', s.firstname, s.lastname)),
                                          '\s+', ' ', 'g')), '') AS name) ship
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
$query$, :'only_address') AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = 'spree_orders'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source    => 'orders',
    on_column => 'payment_state',
    on_values => '{paid,credit_owed}',
    time_zone => 'UTC',
    query     => :'query');
\else
SELECT capi.attach(
    source     => 'orders',
    table_name => 'spree_orders',
    dataset    => 'main',
    on_column  => 'payment_state',
    on_values  => '{paid,credit_owed}',
    time_zone  => 'UTC',
    query      => :'query');
\endif
