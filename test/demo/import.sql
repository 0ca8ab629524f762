-- Marketplace orders: a nightly job writes sixty paid orders in one
-- transaction, while the shop goes on.
BEGIN;
CREATE TEMP TABLE imported ON COMMIT DROP AS
SELECT 1 + (n * 37) % 200 AS customer_id, n FROM generate_series(1, 60) n;
CREATE TEMP TABLE imported_orders (id bigint) ON COMMIT DROP;
WITH inserted AS (
    INSERT INTO orders (customer_id, billing_address_id, status, currency, shipping, total, paid_at)
    SELECT m.customer_id, a.id, 'paid', 'EUR', 0, 12.90 * 2 + 1.49, now() - m.n * interval '1 minute'
      FROM imported m JOIN addresses a USING (customer_id)
    RETURNING id
)
INSERT INTO imported_orders SELECT id FROM inserted;
INSERT INTO order_items (order_id, product_id, quantity, unit_price)
SELECT o.id, p.id, CASE p.sku WHEN 'PEN' THEN 1 ELSE 2 END, p.price
  FROM imported_orders o CROSS JOIN products p WHERE p.sku IN ('MUG-01', 'PEN');
INSERT INTO payments (order_id, amount, currency, status, captured_at)
SELECT o.id, o.total, o.currency, 'captured', o.paid_at
  FROM orders o JOIN imported_orders USING (id);
COMMIT;
