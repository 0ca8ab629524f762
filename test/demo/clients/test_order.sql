-- weight 5: somebody of the shop tries the checkout out
\i _place_order.sql
UPDATE orders SET is_test = true WHERE id = :order_id;
BEGIN;
\i _pay.sql
COMMIT;
