-- Odoo 17 to 19 with its eCommerce: a web order that was confirmed is a
-- purchase.  README.md beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  Run again, it changes the
-- source that is there, and no order is lost.  No variables: Odoo keeps its
-- timestamps in UTC.
\set ON_ERROR_STOP on

SELECT $query$
SELECT o.id AS key,
       o.date_order AS event_time,
       o.name AS order_id,
       due.value,
       cur.name AS currency,
       -- the transaction has a copy of the payer, whom anybody may edit later
       coalesce(t.partner_email, buyer.email_normalized,
                substring(buyer.email FROM '[^\s<>",;]+@[^\s<>",;]+')) AS em,
       -- numbers without calling code get that of the country below
       ARRAY[coalesce(t.partner_phone, buyer.phone),
             CASE WHEN inv.country_id = home.country_id OR left(btrim(inv.phone), 1) = '+'
                  THEN inv.phone END,
             CASE WHEN s.country_id = home.country_id OR left(btrim(s.phone), 1) = '+'
                  THEN s.phone END] AS ph,
       split_part(n.whole, ' ', 1) AS fn,
       nullif(regexp_replace(n.whole, '^\S+\s*', ''), '') AS ln,
       home.city AS ct,
       r.code AS st,
       home.zip AS zp,
       c.code AS country,
       o.partner_id::text AS external_id,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.website_id IS NULL THEN 'not a web order'
            WHEN o.state = 'cancel' THEN 'cancelled before it was sent'
            WHEN pay.test THEN 'test payment'
            WHEN o.partner_id = visitor.partner_id THEN 'public visitor'
            WHEN company.is_company THEN 'B2B'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
  FROM sale_order o
  JOIN res_currency cur ON cur.id = o.currency_id
 CROSS JOIN LATERAL (
       -- captures in part and refunds have a source transaction, and are not
       -- counted again
       SELECT sum(x.amount) AS paid,
              bool_or(v.state = 'test') AS test,
              max(x.id) AS last_id
         FROM sale_order_transaction_rel l
         JOIN payment_transaction x ON x.id = l.transaction_id
         JOIN payment_provider v ON v.id = x.provider_id
        WHERE l.sale_order_id = o.id AND x.state IN ('authorized', 'done')
          AND x.source_transaction_id IS NULL
          AND x.operation IS DISTINCT FROM 'refund' AND x.operation IS DISTINCT FROM 'validation') pay
 CROSS JOIN LATERAL (
       -- an order that was cut down since was paid in full; of one that is
       -- confirmed by a deposit the rest counts, too
       SELECT round(greatest(o.amount_total, pay.paid), cur.decimal_places) AS value) due
  JOIN res_partner buyer ON buyer.id = o.partner_id
  LEFT JOIN res_partner company ON company.id = buyer.commercial_partner_id
  -- other partners of the order, and its payer, count as far as they are the
  -- buyer: the recipient of a present may be all of them
  LEFT JOIN payment_transaction t
         ON t.id = pay.last_id
        AND (t.partner_id = o.partner_id
             OR lower(regexp_replace(btrim(t.partner_name), '\s+', ' ', 'g'))
                = lower(regexp_replace(btrim(buyer.name), '\s+', ' ', 'g')))
  LEFT JOIN res_partner inv
         ON inv.id = o.partner_invoice_id AND inv.id <> buyer.id
        AND lower(regexp_replace(btrim(inv.name), '\s+', ' ', 'g'))
            = lower(regexp_replace(btrim(coalesce(t.partner_name, buyer.name)), '\s+', ' ', 'g'))
  LEFT JOIN res_partner s
         ON s.id = o.partner_shipping_id AND s.id <> buyer.id
        AND lower(regexp_replace(btrim(s.name), '\s+', ' ', 'g'))
            = lower(regexp_replace(btrim(coalesce(t.partner_name, buyer.name)), '\s+', ' ', 'g'))
 CROSS JOIN LATERAL (
       -- one address, not parts of several
       SELECT x.city, x.zip, x.country_id, x.state_id
         FROM (VALUES (1, t.partner_city, t.partner_zip, t.partner_country_id, t.partner_state_id),
                      (2, inv.city, inv.zip, inv.country_id, inv.state_id),
                      (3, buyer.city, buyer.zip, buyer.country_id, buyer.state_id),
                      (4, s.city, s.zip, s.country_id, s.state_id)) x (n, city, zip, country_id, state_id)
        ORDER BY x.city IS NULL AND x.zip IS NULL AND x.country_id IS NULL, x.n LIMIT 1) home
  LEFT JOIN res_country c ON c.id = home.country_id
  LEFT JOIN res_country_state r ON r.id = home.state_id
  LEFT JOIN website w ON w.id = o.website_id
  LEFT JOIN res_users visitor ON visitor.id = w.user_id
 CROSS JOIN LATERAL (
       SELECT btrim(coalesce(t.partner_name, buyer.name)) AS whole) n
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT row_number() OVER (ORDER BY l.sequence, l.id) AS n,
                      coalesce(nullif(v.default_code, ''), l.product_id::text) AS id,
                      -- Meta counts in whole numbers; by weight, say, it is one
                      ceil(l.product_uom_qty) AS quantity,
                      round((l.price_total / ceil(l.product_uom_qty))::numeric,
                            cur.decimal_places) AS price
                 FROM sale_order_line l
                 LEFT JOIN product_product v ON v.id = l.product_id
                WHERE l.order_id = o.id AND l.product_uom_qty > 0
                  AND l.display_type IS NULL
                  AND l.is_delivery IS NOT TRUE
                  AND l.is_downpayment IS NOT TRUE) i) items
 -- of what was cancelled, only what was paid in full was confirmed for certain
 WHERE o.state IN ('sale', 'done')
    OR (o.state = 'cancel' AND pay.paid >= o.amount_total)
$query$ AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = 'sale_order'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source    => 'orders',
    on_column => 'state',
    on_values => '{sale}',
    time_zone => 'UTC',
    query     => :'query');
\else
SELECT capi.attach(
    source     => 'orders',
    table_name => 'sale_order',
    dataset    => 'main',
    on_column  => 'state',
    on_values  => '{sale}',
    time_zone  => 'UTC',
    query      => :'query');
\endif
