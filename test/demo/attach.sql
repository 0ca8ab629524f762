-- What the shop's owner writes once.  It runs with the owner's rights, and the
-- query later runs with them too.
SELECT capi.attach(
    source     => 'paid_orders',
    table_name => 'shop.orders',
    dataset    => 'main',
    on_column  => 'status',
    on_values  => ARRAY['paid'],
    query      => $$
        SELECT o.id AS key,
               o.paid_at AS event_time,
               o.total AS value,
               o.currency,
               o.id::text AS order_id,
               c.email AS em,
               c.phone AS ph,
               c.first_name AS fn,
               c.last_name AS ln,
               a.city AS ct,
               a.region AS st,
               a.postcode AS zp,
               a.country_code AS country,
               c.id::text AS external_id,
               host(o.browser_ip) AS client_ip_address,
               o.browser_agent AS client_user_agent,
               'https://shop.example/thanks' AS event_source_url,
               (SELECT jsonb_agg(jsonb_build_object('id', p.sku,
                                                    'quantity', i.quantity,
                                                    'item_price', i.unit_price)
                                 ORDER BY p.sku)
                  FROM shop.order_items i JOIN shop.products p ON p.id = i.product_id
                 WHERE i.order_id = o.id) AS contents,
               CASE WHEN o.is_test THEN 'test order'
                    WHEN NOT c.marketing_consent THEN 'no consent' END AS ignore_reason
          FROM shop.orders o
          JOIN shop.customers c ON c.id = o.customer_id
          JOIN shop.addresses a ON a.id = o.billing_address_id
         WHERE o.paid_at IS NOT NULL$$);
