-- weight 10: the newest paid order is refunded, the newest refunded one is paid once more
UPDATE shop.orders SET status = 'refunded' WHERE id = (SELECT max(id) FROM shop.orders WHERE status = 'paid');
UPDATE shop.orders SET status = 'paid' WHERE id = (SELECT max(id) FROM shop.orders WHERE status = 'refunded');
