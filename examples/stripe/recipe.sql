-- Stripe, mirrored by the Stripe Sync Engine: a payment that succeeded is a
-- purchase.  README.md beside this file says why, and what is left out.
--
--   psql -d shop -f recipe.sql
--   psql -d shop -v renewals=report -f recipe.sql
--
-- Needs a dataset called main (capi.create_dataset), and the first sync to be
-- over.  Run again with the same variables, it changes the source that is there,
-- and no payment is lost. What differs by account:
--   renewals      "ignore" the later payments of a subscription, or "report" them
--   hold          until the other objects of a payment are there: Stripe tells of
--                 each by itself, in any order
\set ON_ERROR_STOP on
\if :{?renewals}
\else
\set renewals ignore
\endif
SELECT :'renewals' IN ('ignore', 'report') AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'renewals must be ignore or report'; END $$;
\endif
\if :{?hold}
\else
\set hold '2 minutes'
\endif
SELECT :'hold' ~ '^0$|[a-z]' AS known \gset
\if :known
\else
DO $$ BEGIN RAISE EXCEPTION 'hold must have its unit, 15 minutes say'; END $$;
\endif

-- In the text of the query %1$L says what becomes of renewals.
SELECT format($query$
SELECT p.id AS key,
       coalesce(ch.created, p.created) AS event_time,
       CASE WHEN bill.renewal THEN 'system_generated'
            WHEN ch.way = 'card_present' OR ch.way = 'interac_present' THEN 'physical_store'
            ELSE 'website' END AS action_source,
       coalesce(p.metadata ->> 'order_id', bill.number, p.id) AS order_id,
       due.value,
       upper(p.currency) AS currency,
       payer.em,
       payer.ph,
       payer.name,
       payer.address ->> 'city' AS ct,
       payer.address ->> 'state' AS st,
       payer.address ->> 'postal_code' AS zp,
       payer.address ->> 'country' AS country,
       p.customer AS external_id,
       p.metadata ->> 'fbp' AS fbp,
       p.metadata ->> 'fbc' AS fbc,
       p.metadata ->> 'client_ip_address' AS client_ip_address,
       p.metadata ->> 'client_user_agent' AS client_user_agent,
       p.metadata ->> 'event_source_url' AS event_source_url,
       items.contents,
       items.content_ids,
       items.num_items,
       CASE WHEN items.contents IS NOT NULL THEN 'product' END AS content_type,
       CASE WHEN NOT p.livemode THEN 'test mode'
            WHEN bill.renewal AND %1$L <> 'report' THEN 'renewal'
            WHEN due.value = 0 THEN 'free of charge'
            END AS ignore_reason
  FROM stripe.payment_intents p
 CROSS JOIN LATERAL (
       -- Stripe's smallest units: not ISO 4217 for ISK, MGA and UGX
       SELECT CASE WHEN upper(p.currency) IN ('BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA',
                                              'PYG', 'RWF', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 1
                   WHEN upper(p.currency) IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN 1000
                   ELSE 100 END AS units,
              CASE WHEN upper(p.currency) IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW',
                                              'MGA', 'PYG', 'RWF', 'UGX', 'VND', 'VUV', 'XAF', 'XOF',
                                              'XPF') THEN 0
                   WHEN upper(p.currency) IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN 3
                   ELSE 2 END AS digits) cur
 CROSS JOIN LATERAL (
       -- what was taken; refunds are counted elsewhere
       SELECT round(p.amount_received::numeric / cur.units, cur.digits) AS value) due
  LEFT JOIN LATERAL (
       SELECT c.created, c.receipt_email, c.invoice,
              c._raw_data -> 'billing_details' AS billing,
              c.payment_method_details ->> 'type' AS way
         FROM stripe.charges c
        WHERE c.id = coalesce(p._raw_data ->> 'latest_charge',
                              p._raw_data #>> '{charges,data,0,id}')) ch ON true
  LEFT JOIN LATERAL (
       -- the checkout page asked the buyer himself
       SELECT s.id, s.customer_details AS details
         FROM stripe.checkout_sessions s
        WHERE s.payment_intent = p.id
        ORDER BY s.created DESC, s.id LIMIT 1) session ON true
  LEFT JOIN LATERAL (
       -- before 2025 the payment names its invoice, since then a table does
       SELECT i.id, i.number, i.lines, i.billing_reason = 'subscription_cycle' AS renewal,
              i.customer_name, i.customer_email, i.customer_phone, i.customer_address
         FROM stripe.invoices i
        WHERE i.id = coalesce(p.invoice, ch.invoice,
                              (SELECT min(ip.invoice)
                                 FROM stripe.invoice_payments ip
                                WHERE ip.payment ->> 'payment_intent' = p.id))) bill ON true
  LEFT JOIN stripe.customers c ON c.id = p.customer
  LEFT JOIN LATERAL (
       -- one person, the buyer: as the checkout page asked, or as the customer
       -- is known; who paid comes after
       SELECT x.em, x.ph, x.name, x.address
         FROM (VALUES (1, session.details ->> 'email', session.details ->> 'phone',
                       session.details ->> 'name', session.details -> 'address'),
                      (2, c.email, c.phone, c.name, c.address),
                      (3, ch.billing ->> 'email', ch.billing ->> 'phone',
                       ch.billing ->> 'name', ch.billing -> 'address'),
                      (4, bill.customer_email, bill.customer_phone, bill.customer_name,
                       bill.customer_address),
                      (5, coalesce(p.receipt_email, ch.receipt_email), NULL, NULL, NULL)) x (n, em, ph, name, address)
        WHERE concat(x.em, x.ph, x.name) <> ''
        ORDER BY coalesce(x.em, '') = '', x.n LIMIT 1) given ON true
 CROSS JOIN LATERAL (
       -- what came with a card fills up when it has the same e-mail or name
       SELECT given.em, coalesce(given.ph, same.ph) AS ph, coalesce(given.name, same.name) AS name,
              CASE WHEN jsonb_typeof(given.address) = 'object' THEN given.address
                   ELSE same.address END AS address
         FROM (SELECT ch.billing ->> 'phone' AS ph, ch.billing ->> 'name' AS name,
                      ch.billing -> 'address' AS address
                WHERE lower(btrim(ch.billing ->> 'name')) = lower(btrim(given.name))
                   OR lower(btrim(ch.billing ->> 'email')) = lower(btrim(given.em))
                UNION ALL
               SELECT NULL, NULL, NULL
                LIMIT 1) same) payer
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('id', i.id, 'quantity', i.quantity,
                                           'item_price', i.price) ORDER BY i.n) AS contents,
              jsonb_agg(i.id ORDER BY i.n) AS content_ids,
              sum(i.quantity)::bigint AS num_items
         FROM (SELECT x.n, x.id, x.quantity,
                      round(x.amount / x.quantity / cur.units, cur.digits) AS price
                 FROM (SELECT row_number() OVER (ORDER BY l.id) AS n, l.price AS id,
                              l.quantity::numeric AS quantity, l.amount_total::numeric AS amount
                         FROM stripe.checkout_session_line_items l
                        WHERE l.checkout_session = session.id
                        UNION ALL
                       SELECT j.n,
                              coalesce(j.line #>> '{price,id}',
                                       j.line #>> '{pricing,price_details,price}', j.line ->> 'id'),
                              coalesce((j.line ->> 'quantity')::numeric, 1),
                              (j.line ->> 'amount')::numeric
                         FROM jsonb_array_elements(bill.lines -> 'data') WITH ORDINALITY j (line, n)
                        WHERE session.id IS NULL) x
                WHERE x.quantity > 0) i) items
 WHERE p.status = 'succeeded'
$query$, :'renewals') AS query \gset

SELECT EXISTS (SELECT FROM capi.source_status
                WHERE source = 'orders' AND table_name = 'stripe.payment_intents'::regclass) AS attached \gset
\if :attached
SELECT capi.alter_source(
    source      => 'orders',
    key_columns => '{id}',
    on_column   => 'status',
    on_values   => '{succeeded}',
    hold        => :'hold',
    query       => :'query');
\else
SELECT capi.attach(
    source      => 'orders',
    table_name  => 'stripe.payment_intents',
    dataset     => 'main',
    key_columns => '{id}',
    on_column   => 'status',
    on_values   => '{succeeded}',
    hold        => :'hold',
    query       => :'query');
\endif
