-- Vendure 3: an order that was paid is a purchase.  README.md beside this file
-- says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v zone=Europe/Vienna -v divisor=1000 -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset).  Run again with the same
-- variables, it changes the source that is there, and no order is lost.  What
-- differs by shop:
--   zone          time zone of the Node process, which writes "orderPlacedAt" in it
--   divisor       units of money in one of the currency: 10 ^ precision of the
--                 shop's MoneyStrategy, the same for every currency
--   only_address  whose an order's only address is: "buyer", or "unknown" when
--                 it may be that of whom a present is for
\set ON_ERROR_STOP on
\if :{?zone}
\else
\set zone UTC
\endif
\if :{?divisor}
\else
\set divisor 100
\endif
SELECT :'divisor' ~ '^10{0,6}$' AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'divisor must be 1, 10, 100, 1000, and so on'; END $$;
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

-- In the text of the query %1$s is the divisor, %2$L says whose the only address is.
SELECT format($query$
SELECT o.id AS key,
       o."orderPlacedAt" AS event_time,
       CASE WHEN h.staff THEN 'other' ELSE 'website' END AS action_source,
       o.code AS order_id,
       due.value,
       o."currencyCode" AS currency,
       c."emailAddress" AS em,
       -- numbers without calling code get that of the country below
       ARRAY[CASE WHEN buyer.known AND (a.address IS NOT NULL
                                        OR left(btrim(c."phoneNumber"), 1) = '+')
                  THEN c."phoneNumber" END,
             a.address ->> 'phoneNumber',
             CASE WHEN who.shipping = buyer.name
                       AND (ad.shipping ->> 'countryCode' = a.address ->> 'countryCode'
                            OR left(btrim(ad.shipping ->> 'phoneNumber'), 1) = '+')
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
            WHEN due.value = 0 THEN 'free of charge'
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
              min(p."createdAt") FILTER (WHERE p.state NOT IN ('Created', 'Declined', 'Error')) AS at
         FROM payment p
        WHERE p."orderId" = o.id
          AND NOT EXISTS (SELECT FROM order_modification m
                           WHERE m."orderId" = o.id AND m."paymentId" = p.id)) pay
 CROSS JOIN LATERAL (
       SELECT round(coalesce(pay.settled, o."subTotalWithTax" + o."shippingWithTax") / %1$s.0,
                    cur.digits) AS value) due
 CROSS JOIN LATERAL (
       -- through which states it came; what staff type in begins as a draft
       SELECT coalesce(bool_or(e.data::jsonb ->> 'to' = 'PaymentSettled'), false) AS settled,
              coalesce(bool_or(e.data::jsonb ->> 'to' = 'Draft'), false) AS staff
         FROM history_entry e
        WHERE e."orderId" = o.id AND e.type = 'ORDER_STATE_TRANSITION') h
 CROSS JOIN LATERAL (
       SELECT CASE WHEN b.billing ->> 'countryCode' <> '' THEN b.billing END AS billing,
              nullif(o."shippingAddress", '')::jsonb AS shipping
         FROM (SELECT nullif(o."billingAddress", '')::jsonb AS billing) b) ad
 CROSS JOIN LATERAL (
       SELECT nullif(lower(regexp_replace(btrim(ad.billing ->> 'fullName'), '\s+', ' ', 'g')),
                     '') AS billing,
              nullif(lower(regexp_replace(btrim(ad.shipping ->> 'fullName'), '\s+', ' ', 'g')),
                     '') AS shipping,
              nullif(lower(regexp_replace(btrim(concat_ws(' ', c."firstName", c."lastName")),
                                          '\s+', ' ', 'g')), '') AS customer) who
 CROSS JOIN LATERAL (
       -- a later guest with the same e-mail renames the customer: the row tells
       -- who bought as long as it was not written since, or names who was billed
       SELECT coalesce(c."updatedAt" <= pay.at, true) OR who.customer = who.billing AS known) own
 CROSS JOIN LATERAL (
       SELECT own.known, coalesce(who.billing, CASE WHEN own.known THEN who.customer END) AS name) buyer
 CROSS JOIN LATERAL (
       -- without a billing address the other one, unless it names somebody else
       SELECT CASE WHEN ad.billing IS NOT NULL THEN ad.billing
                   WHEN who.shipping IS NULL OR who.shipping = buyer.name OR %2$L = 'buyer'
                   THEN ad.shipping END AS address) a
 CROSS JOIN LATERAL (
       -- the name in an address is cut where the customer's is, if it fits
       SELECT nullif(btrim(a.address ->> 'fullName'), '') AS whole,
              ' ' || lower(c."lastName") AS tail) f
 CROSS JOIN LATERAL (
       SELECT CASE WHEN f.whole IS NULL THEN CASE WHEN buyer.known THEN c."firstName" END
                   WHEN right(lower(f.whole), length(f.tail)) = f.tail
                   THEN left(f.whole, -length(f.tail))
                   ELSE split_part(f.whole, ' ', 1) END AS fn,
              CASE WHEN f.whole IS NULL THEN CASE WHEN buyer.known THEN c."lastName" END
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
                                 ELSE round(p.price * (1 + t.rate / 100)) END / %1$s.0,
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
 -- the state is one after the payment, or was: a cancelled or modified order
 -- no longer says whether it was paid, and its history does
 WHERE o."orderPlacedAt" IS NOT NULL
   AND (h.settled
        OR o.state IN ('PaymentSettled', 'PartiallyShipped', 'Shipped', 'PartiallyDelivered',
                       'Delivered'))
$query$, :'divisor', :'only_address') AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = '"order"'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source    => 'orders',
    on_column => 'state',
    on_values => '{PaymentSettled}',
    time_zone => :'zone',
    query     => :'query');
\else
SELECT capi.attach(
    source     => 'orders',
    table_name => '"order"',
    dataset    => 'main',
    on_column  => 'state',
    on_values  => '{PaymentSettled}',
    time_zone  => :'zone',
    query      => :'query');
\endif
