-- weight 8: nobody ever pays; the application only touches the order
\i _place_order.sql
UPDATE orders SET updated_at = now() WHERE id = :order_id;
