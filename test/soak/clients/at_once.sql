-- weight 15: paid when it is written, and touched twice more in the same transaction
\set cents random(100, 100000)
BEGIN;
INSERT INTO shop.orders (total, email, status, paid_at) VALUES (:cents / 100.0, 'quick.:cents@example.com', 'paid', now()) RETURNING id \gset
UPDATE shop.orders SET status = 'pending' WHERE id = :id;
UPDATE shop.orders SET status = 'paid' WHERE id = :id;
COMMIT;
