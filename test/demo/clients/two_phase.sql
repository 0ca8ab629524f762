-- weight 6: paid in a prepared transaction that commits
\i _place_order.sql
BEGIN;
\i _pay.sql
PREPARE TRANSACTION 'payment_:order_id';
COMMIT PREPARED 'payment_:order_id';
