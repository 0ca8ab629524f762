-- weight 6: the callback fails half-way and is rolled back
\i _place_order.sql
BEGIN;
\i _pay.sql
ROLLBACK;
