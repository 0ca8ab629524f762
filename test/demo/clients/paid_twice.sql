-- weight 6: the status is written again, the same and by way of another
\i _place_order.sql
BEGIN;
\i _pay.sql
COMMIT;
UPDATE orders SET status = 'paid', updated_at = now() WHERE id = :order_id;
UPDATE orders SET status = 'shipped', updated_at = now() WHERE id = :order_id;
UPDATE orders SET status = 'paid', updated_at = now() WHERE id = :order_id;
