-- weight 5: the first try is rolled back to a savepoint, the second one stays
\i _place_order.sql
BEGIN;
SAVEPOINT payment;
\i _pay.sql
ROLLBACK TO SAVEPOINT payment;
\i _pay.sql
COMMIT;
