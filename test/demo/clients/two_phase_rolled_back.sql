-- weight 4: paid in a prepared transaction that is rolled back
\i _place_order.sql
BEGIN;
\i _pay.sql
PREPARE TRANSACTION 'payment_:order_id';
ROLLBACK PREPARED 'payment_:order_id';
