-- weight 10: rolled back, whole or to a savepoint
\set cents random(100, 100000)
BEGIN;
INSERT INTO shop.orders (total, email) VALUES (:cents / 100.0, 'mind.:cents@example.com') RETURNING id \gset
SAVEPOINT s;
UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id = :id;
ROLLBACK TO s;
\if :cents > 50000
UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id = :id;
COMMIT;
\else
ROLLBACK;
\endif
