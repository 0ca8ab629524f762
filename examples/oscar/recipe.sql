-- django-oscar 4: an order that is placed is a purchase.  README.md beside this
-- file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v user_table=accounts_user -v cancelled=Refused -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  Run again with the same
-- variables, it changes the source that is there, and no order is lost.  What
-- differs by shop:
--   user_table    table of the user model, AUTH_USER_MODEL
--   cancelled     status of a cancelled order in OSCAR_ORDER_STATUS_PIPELINE
--   only_address  whose an order's only address is: "buyer", or "unknown" when
--                 it may be that of whom a present is for
\set ON_ERROR_STOP on
\if :{?user_table}
\else
\set user_table auth_user
\endif
\if :{?cancelled}
\else
\set cancelled Cancelled
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

-- In the text of the query %1$I is the table of users, %2$L the status, and
-- %3$L says whose the only address is.
SELECT format($query$
SELECT o.id AS key,
       o.date_placed AS event_time,
       o.number AS order_id,
       due.value,
       o.currency,
       coalesce(nullif(o.guest_email, ''), u.email) AS em,
       -- only delivery addresses have a number; without calling code it gets
       -- that of the country below
       CASE WHEN s.id = a.id OR ship.name = coalesce(bill.name, buyer.name)
            THEN CASE WHEN s.country_id = coalesce(b.country_id, s.country_id)
                           OR left(btrim(s.phone_number), 1) = '+'
                      THEN s.phone_number END END AS ph,
       CASE WHEN bill.name IS NOT NULL THEN b.first_name
            WHEN concat(a.first_name, a.last_name) <> '' THEN a.first_name
            ELSE buyer.first_name END AS fn,
       CASE WHEN bill.name IS NOT NULL THEN b.last_name
            WHEN concat(a.first_name, a.last_name) <> '' THEN a.last_name
            ELSE buyer.last_name END AS ln,
       coalesce(b.line4, a.line4) AS ct,
       coalesce(b.state, a.state) AS st,
       coalesce(b.postcode, a.postcode) AS zp,
       coalesce(b.country_id, a.country_id) AS country,
       o.user_id::text AS external_id,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.status = %2$L THEN 'cancelled before it was sent'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
  FROM order_order o
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN o.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG',
                                       'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
                   ELSE 2 END AS digits) cur
 CROSS JOIN LATERAL (
       SELECT round(o.total_incl_tax, cur.digits) AS value) due
  LEFT JOIN %1$I u ON u.id = o.user_id
  LEFT JOIN LATERAL (
       -- the account, unless the order has another e-mail; a project's own
       -- model of users may do without names
       SELECT nullif(m.data ->> 'first_name', '') AS first_name,
              nullif(m.data ->> 'last_name', '') AS last_name,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', m.data ->> 'first_name',
                                                          m.data ->> 'last_name')),
                                          '\s+', ' ', 'g')), '') AS name
         FROM (SELECT to_jsonb(u) AS data) m
        WHERE u.id IS NOT NULL
          AND lower(coalesce(nullif(o.guest_email, ''), u.email)) = lower(u.email)) buyer ON true
  LEFT JOIN order_billingaddress b ON b.id = o.billing_address_id
  LEFT JOIN order_shippingaddress s ON s.id = o.shipping_address_id
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', b.first_name, b.last_name)),
                                          '\s+', ' ', 'g')), '') AS name) bill
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(concat_ws(' ', s.first_name, s.last_name)),
                                          '\s+', ' ', 'g')), '') AS name) ship
  -- without a billing address the other one, if it names the buyer
  LEFT JOIN order_shippingaddress a
         ON a.id = s.id AND b.id IS NULL AND (ship.name = buyer.name OR %3$L = 'buyer')
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
$query$, :'user_table', :'cancelled', :'only_address') AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = 'order_order'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source => 'orders',
    query  => :'query');
\else
SELECT capi.attach(
    source     => 'orders',
    table_name => 'order_order',
    dataset    => 'main',
    query      => :'query');
\endif
