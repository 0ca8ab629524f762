-- Vendure 3: an order that was paid is a purchase.  README.md beside this file
-- says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v zone=Europe/Vienna -v divisor=1000 -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  What differs by shop:
--   zone      time zone of the Node process, which writes "orderPlacedAt" in it
--   divisor   units of money in one of the currency: 10 ^ precision of the
--             shop's MoneyStrategy, the same for every currency
\if :{?zone}
\else
\set zone UTC
\endif
\if :{?divisor}
\else
\set divisor 100
\endif

-- In the text of the query %1$L is the zone, %2$s the divisor.
SELECT capi.attach(
    source     => 'orders',
    table_name => '"order"',
    dataset    => 'main',
    on_column  => 'state',
    on_values  => '{PaymentSettled}',
    query      => format($query$
SELECT o.id AS key,
       o."orderPlacedAt" AT TIME ZONE %1$L AS event_time,
       o.code AS order_id,
       round(coalesce(pay.settled, o."subTotalWithTax" + o."shippingWithTax") / %2$s.0,
             cur.digits) AS value,
       o."currencyCode" AS currency,
       c."emailAddress" AS em,
       -- numbers without calling code get that of the country below
       ARRAY[c."phoneNumber", a.address ->> 'phoneNumber',
             CASE WHEN ad.shipping ->> 'countryCode' = a.address ->> 'countryCode'
                       OR left(btrim(ad.shipping ->> 'phoneNumber'), 1) = '+'
                  THEN ad.shipping ->> 'phoneNumber' END] AS ph,
       n.fn,
       n.ln,
       a.address ->> 'city' AS ct,
       a.address ->> 'province' AS st,
       a.address ->> 'postalCode' AS zp,
       a.address ->> 'countryCode' AS country,
       c.id::text AS external_id,
       items.contents,
       items.content_ids,
       items.num_items,
       'product' AS content_type,
       CASE WHEN o.type = 'Seller' THEN 'seller part of a marketplace order'
            WHEN o.state = 'Cancelled' THEN 'cancelled before it was sent'
            END AS ignore_reason
  FROM "order" o
  LEFT JOIN customer c ON c.id = o."customerId"
 CROSS JOIN LATERAL (
       -- digits of the currency after the point, ISO 4217
       SELECT CASE WHEN o."currencyCode" IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW',
                                             'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF',
                                             'XPF') THEN 0
                   WHEN o."currencyCode" IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
                   ELSE 2 END AS digits) cur
 CROSS JOIN LATERAL (
       -- what was paid for the order as it was placed: refunds are rows of
       -- their own, and a payment for a later modification is not counted
       SELECT sum(p.amount) FILTER (WHERE p.state = 'Settled') AS settled,
              count(*) FILTER (WHERE p.state = 'Authorized') AS authorized
         FROM payment p
        WHERE p."orderId" = o.id
          AND NOT EXISTS (SELECT FROM order_modification m
                           WHERE m."orderId" = o.id AND m."paymentId" = p.id)) pay
 CROSS JOIN LATERAL (
       SELECT nullif(o."billingAddress", '')::jsonb AS billing,
              nullif(o."shippingAddress", '')::jsonb AS shipping) ad
 CROSS JOIN LATERAL (
       SELECT CASE WHEN ad.billing ->> 'countryCode' <> '' THEN ad.billing
                   ELSE ad.shipping END AS address) a
 CROSS JOIN LATERAL (
       -- a later guest with the same e-mail renames the customer: the name in
       -- the order's address stays, and is cut where the customer's is, if it fits
       SELECT nullif(btrim(a.address ->> 'fullName'), '') AS whole,
              ' ' || lower(c."lastName") AS tail) f
 CROSS JOIN LATERAL (
       SELECT CASE WHEN f.whole IS NULL THEN c."firstName"
                   WHEN right(lower(f.whole), length(f.tail)) = f.tail
                   THEN left(f.whole, -length(f.tail))
                   ELSE split_part(f.whole, ' ', 1) END AS fn,
              CASE WHEN f.whole IS NULL THEN c."lastName"
                   WHEN right(lower(f.whole), length(f.tail)) = f.tail
                   THEN right(f.whole, length(f.tail) - 1)
                   ELSE nullif(regexp_replace(f.whole, '^\S+\s*', ''), '') END AS ln) n
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity) AS num_items
         FROM (SELECT row_number() OVER (ORDER BY l."createdAt", l.id) AS n,
                      coalesce(nullif(v.sku, ''), l."productVariantId"::text) AS id,
                      -- cancelling and modifying change quantity, not this
                      l."orderPlacedQuantity" AS quantity,
                      round(CASE WHEN l."listPriceIncludesTax" THEN p.price
                                 ELSE round(p.price * (1 + t.rate / 100)) END / %2$s.0,
                            cur.digits) AS price
                 FROM order_line l
                 LEFT JOIN product_variant v ON v.id = l."productVariantId"
                CROSS JOIN LATERAL (
                      -- a modification may reprice lines, in another currency even
                      SELECT CASE WHEN EXISTS (SELECT FROM order_modification m
                                                WHERE m."orderId" = o.id)
                                  THEN coalesce(l."initialListPrice", l."listPrice")
                                  ELSE l."listPrice" END AS price) p
                CROSS JOIN LATERAL (
                      SELECT coalesce(sum((x ->> 'taxRate')::numeric), 0) AS rate
                        FROM jsonb_array_elements(nullif(l."taxLines", '')::jsonb) x) t
                WHERE l."orderId" = o.id AND l."orderPlacedQuantity" > 0) i) items
 -- placed, and no payment open; an order that was free has no payment
 WHERE o."orderPlacedAt" IS NOT NULL
   AND (pay.authorized = 0
        OR o.state IN ('PaymentSettled', 'PartiallyShipped', 'Shipped', 'PartiallyDelivered',
                       'Delivered'))
   AND (pay.settled IS NOT NULL OR o.state <> 'Cancelled')
$query$, :'zone', :'divisor'));
