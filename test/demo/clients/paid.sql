-- weight 44: the payment provider calls back, the order is paid
\i _place_order.sql
BEGIN;
\i _pay.sql
COMMIT;
