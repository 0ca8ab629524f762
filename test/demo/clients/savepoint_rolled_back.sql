-- weight 5: paid inside a savepoint that is rolled back; the rest commits
\i _place_order.sql
BEGIN;
SAVEPOINT payment;
\i _pay.sql
ROLLBACK TO SAVEPOINT payment;
UPDATE orders SET updated_at = now() WHERE id = :order_id;
COMMIT;
