-- What the application does at checkout, in its own order: the order is born
-- pending and without a total, its items come next, then the total, then the
-- payment that the customer is sent to.  Each client's script begins with it.
\set customer random(1, 200)
\set lines random(1, 4)
BEGIN;
INSERT INTO orders (customer_id, billing_address_id, currency, browser_ip, browser_agent)
SELECT c.id, a.id,
       CASE a.country_code WHEN 'US' THEN 'USD' WHEN 'GB' THEN 'GBP'
                           WHEN 'SE' THEN 'SEK' WHEN 'PL' THEN 'PLN' ELSE 'EUR' END,
       '203.0.113.0'::inet + (c.id % 250),
       'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
  FROM customers c JOIN addresses a ON a.customer_id = c.id
 WHERE c.id = :customer
RETURNING id AS order_id \gset
INSERT INTO order_items (order_id, product_id, quantity, unit_price)
SELECT :order_id, id, 1 + floor(random() * 3)::int, price
  FROM products ORDER BY random() LIMIT :lines;
UPDATE orders o
   SET total = o.shipping + (SELECT sum(i.quantity * i.unit_price)
                               FROM order_items i WHERE i.order_id = o.id)
 WHERE o.id = :order_id;
INSERT INTO payments (order_id, amount, currency)
SELECT id, total, currency FROM orders WHERE id = :order_id;
COMMIT;
