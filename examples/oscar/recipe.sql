-- django-oscar 4: an order that is placed is a purchase.  README.md beside this
-- file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v user_table=accounts_user -v cancelled=Refused -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  What differs by shop:
--   user_table   table of the user model, AUTH_USER_MODEL
--   cancelled    status of a cancelled order in OSCAR_ORDER_STATUS_PIPELINE
\if :{?user_table}
\else
\set user_table auth_user
\endif
\if :{?cancelled}
\else
\set cancelled Cancelled
\endif

-- In the text of the query %1$I is the table of users, %2$L the status.
SELECT capi.attach(
    source     => 'orders',
    table_name => 'order_order',
    dataset    => 'main',
    query      => format($query$
SELECT o.id AS key,
       o.date_placed AS event_time,
       o.number AS order_id,
       round(o.total_incl_tax, cur.digits) AS value,
       o.currency,
       coalesce(nullif(o.guest_email, ''), u.email) AS em,
       -- only delivery addresses have a number; without calling code it gets
       -- that of the country below
       CASE WHEN s.country_id = coalesce(b.country_id, s.country_id)
                 OR left(btrim(s.phone_number), 1) = '+'
            THEN s.phone_number END AS ph,
       coalesce(b.first_name, s.first_name) AS fn,
       coalesce(b.last_name, s.last_name) AS ln,
       coalesce(b.line4, s.line4) AS ct,
       coalesce(b.state, s.state) AS st,
       coalesce(b.postcode, s.postcode) AS zp,
       coalesce(b.country_id, s.country_id) AS country,
       o.user_id::text AS external_id,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.status = %2$L THEN 'cancelled before it was sent' END AS ignore_reason
  FROM order_order o
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN o.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG',
                                       'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
                   ELSE 2 END AS digits) cur
  LEFT JOIN %1$I u ON u.id = o.user_id
  LEFT JOIN order_billingaddress b ON b.id = o.billing_address_id
  LEFT JOIN order_shippingaddress s ON s.id = o.shipping_address_id
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT l.id AS n,
                      coalesce(nullif(l.upc, ''), nullif(l.partner_sku, ''), l.product_id::text,
                               l.id::text) AS id,
                      l.quantity,
                      -- after discounts; unit_price_incl_tax is before them
                      round(l.line_price_incl_tax / l.quantity, cur.digits) AS price
                 FROM order_line l
                WHERE l.order_id = o.id AND l.quantity > 0) i) items
$query$, :'user_table', :'cancelled'));
