-- weight 2: a transaction that stays open
\set cents random(100, 100000)
\set ms random(1, 3000)
BEGIN;
INSERT INTO shop.orders (total, email, status, paid_at) VALUES (:cents / 100.0, 'slow.:cents@example.com', 'paid', now());
\sleep :ms ms
COMMIT;
