-- weight 40: an order, paid in a second transaction
\set cents random(100, 100000)
INSERT INTO shop.orders (total, email) VALUES (:cents / 100.0, 'buyer.:cents@example.com') RETURNING id \gset
UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id = :id;
