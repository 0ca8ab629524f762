-- weight 6: cancelled before anybody paid
\i _place_order.sql
UPDATE payments SET status = 'cancelled' WHERE order_id = :order_id;
UPDATE orders SET status = 'cancelled', updated_at = now() WHERE id = :order_id;
