-- Odoo 17 to 19 with its eCommerce: a web order that was confirmed is a
-- purchase.  README.md beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  No variables: Odoo keeps
-- its timestamps in UTC.
SELECT capi.attach(
    source     => 'orders',
    table_name => 'sale_order',
    dataset    => 'main',
    on_column  => 'state',
    on_values  => '{sale}',
    query      => $query$
SELECT o.id AS key,
       o.date_order AT TIME ZONE 'UTC' AS event_time,
       o.name AS order_id,
       -- an order that was cut down since was paid in full; of one that is
       -- confirmed by a deposit the rest counts, too
       round(greatest(o.amount_total, pay.paid), cur.decimal_places) AS value,
       cur.name AS currency,
       -- the transaction has a copy of the payer, whom anybody may edit later
       coalesce(t.partner_email, p.email_normalized,
                substring(p.email FROM '[^\s<>",;]+@[^\s<>",;]+')) AS em,
       -- numbers without calling code get that of the country below
       ARRAY[coalesce(t.partner_phone, p.phone),
             CASE WHEN s.country_id = coalesce(t.partner_country_id, p.country_id)
                       OR left(btrim(s.phone), 1) = '+'
                  THEN s.phone END] AS ph,
       split_part(n.whole, ' ', 1) AS fn,
       nullif(regexp_replace(n.whole, '^\S+\s*', ''), '') AS ln,
       coalesce(t.partner_city, p.city) AS ct,
       r.code AS st,
       coalesce(t.partner_zip, p.zip) AS zp,
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
  LEFT JOIN payment_transaction t ON t.id = pay.last_id
  LEFT JOIN res_partner p ON p.id = o.partner_invoice_id
  LEFT JOIN res_partner s ON s.id = o.partner_shipping_id
  LEFT JOIN res_partner buyer ON buyer.id = o.partner_id
  LEFT JOIN res_partner company ON company.id = buyer.commercial_partner_id
  LEFT JOIN res_country c ON c.id = coalesce(t.partner_country_id, p.country_id)
  LEFT JOIN res_country_state r ON r.id = coalesce(t.partner_state_id, p.state_id)
  LEFT JOIN website w ON w.id = o.website_id
  LEFT JOIN res_users visitor ON visitor.id = w.user_id
 CROSS JOIN LATERAL (
       SELECT btrim(coalesce(t.partner_name, p.name)) AS whole) n
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
 -- of what was cancelled, only what was paid has been confirmed for certain
 WHERE o.state IN ('sale', 'done')
    OR (o.state = 'cancel' AND pay.paid IS NOT NULL)
$query$);
