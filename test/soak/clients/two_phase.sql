-- weight 10: prepared, and finished in a second step; what a crash leaves is finished at the end
\set cents random(100, 100000)
\set number random(1, 1000000000)
BEGIN;
INSERT INTO shop.orders (total, email, status, paid_at) VALUES (:cents / 100.0, 'two.:cents@example.com', 'paid', now());
PREPARE TRANSACTION 'soak :number';
\if :cents > 20000
COMMIT PREPARED 'soak :number';
\else
ROLLBACK PREPARED 'soak :number';
\endif
