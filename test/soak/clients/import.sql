-- weight 2: many in one statement, some of them test orders
\set orders random(1, 300)
INSERT INTO shop.orders (total, email, status, paid_at, is_test)
SELECT n, format('bulk.%s@example.com', n), 'paid', now(), n % 50 = 0 FROM generate_series(1, :orders) n;
