UPDATE payments SET status = 'captured', captured_at = now() WHERE order_id = :order_id;
UPDATE orders SET status = 'paid', paid_at = now(), updated_at = now() WHERE id = :order_id;
