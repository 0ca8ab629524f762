-- What must have been reported, one order per line, by way of the payments and
-- items and not of anything that capi reads or writes.
COPY (
    SELECT o.id AS event_id,
           floor(extract(epoch FROM p.captured_at))::bigint AS event_time,
           p.amount AS value,
           p.currency,
           count(i.product_id) AS contents,
           sum(i.quantity) AS pieces,
           encode(sha256(lower(btrim(c.email))::bytea), 'hex') AS em
      FROM shop.payments p
      JOIN shop.orders o ON o.id = p.order_id
      JOIN shop.customers c ON c.id = o.customer_id
      JOIN shop.order_items i ON i.order_id = o.id
     WHERE p.status = 'captured' AND NOT o.is_test AND c.marketing_consent
     GROUP BY o.id, p.id, c.id
     ORDER BY o.id
) TO STDOUT (FORMAT csv, HEADER);
