-- A small but honest shop.  Run by shop_owner in an empty database; knows
-- nothing of capi, and nothing in it was made for capi's convenience.

CREATE SCHEMA shop;
SET search_path = shop;

CREATE TABLE customers (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email             text NOT NULL,
    phone             text,
    first_name        text NOT NULL,
    last_name         text NOT NULL,
    marketing_consent boolean NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE addresses (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  bigint NOT NULL REFERENCES customers,
    street       text NOT NULL,
    city         text NOT NULL,
    region       text,
    postcode     text NOT NULL,
    country_code char(2) NOT NULL
);
CREATE INDEX ON addresses (customer_id);

CREATE TABLE products (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku   text NOT NULL UNIQUE,
    title text NOT NULL,
    price numeric(12, 2) NOT NULL
);

CREATE TABLE orders (
    id                 bigint GENERATED ALWAYS AS IDENTITY (START WITH 100001) PRIMARY KEY,
    customer_id        bigint NOT NULL REFERENCES customers,
    billing_address_id bigint NOT NULL REFERENCES addresses,
    status             text NOT NULL DEFAULT 'pending',
    currency           char(3) NOT NULL,
    shipping           numeric(12, 2) NOT NULL DEFAULT 4.90,
    discount           numeric(12, 2) NOT NULL DEFAULT 0,
    total              numeric(12, 2) NOT NULL DEFAULT 0,
    is_test            boolean NOT NULL DEFAULT false,
    browser_ip         inet,
    browser_agent      text,
    placed_at          timestamptz NOT NULL DEFAULT now(),
    paid_at            timestamptz,
    updated_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON orders (paid_at);

CREATE TABLE order_items (
    order_id   bigint NOT NULL REFERENCES orders,
    product_id bigint NOT NULL REFERENCES products,
    quantity   int NOT NULL,
    unit_price numeric(12, 2) NOT NULL,
    PRIMARY KEY (order_id, product_id)
);

CREATE TABLE payments (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    bigint NOT NULL REFERENCES orders,
    amount      numeric(12, 2) NOT NULL,
    currency    char(3) NOT NULL,
    status      text NOT NULL DEFAULT 'pending',
    captured_at timestamptz
);
CREATE INDEX ON payments (order_id);

-- The application's role: what an application needs, and no word about capi.
GRANT USAGE ON SCHEMA shop TO shop_app;
GRANT SELECT ON customers, addresses, products TO shop_app;
GRANT SELECT, INSERT, UPDATE ON orders, order_items, payments TO shop_app;

-- Two hundred customers of five countries, one in eight without consent.
WITH place (n, city, region, postcode, country_code, phone) AS (
    VALUES (0, 'Köln',       NULL, '50667',      'DE', '0221 4710%s'),
           (1, 'Menlo Park', 'CA', '94025-1452', 'US', '(650) 555-01%s'),
           (2, 'London',     NULL, 'SW1A 1AA',   'GB', '+44 20 7946 01%s'),
           (3, 'Göteborg',   NULL, '411 03',     'SE', '031-3901%s'),
           (4, 'Kraków',     NULL, '31-042',     'PL', '+48 12 616 12 %s')
), person AS (
    SELECT n,
           (ARRAY['Zoë', 'Anna-Lena', 'John', 'Łukasz', 'Ingrid', 'MARY', 'José', 'Björn'])[1 + n % 8] AS first_name,
           (ARRAY['Müller', 'O''Brien', 'Smith', 'Nowak', 'Åkesson', 'van der Berg', 'García'])[1 + n % 7] AS last_name
      FROM generate_series(1, 200) n
), customer AS (
    INSERT INTO customers (email, phone, first_name, last_name, marketing_consent)
    SELECT CASE n % 3 WHEN 0 THEN format(' Customer.%s@Example.COM ', n)
                      ELSE format('customer.%s@example.com', n) END,
           CASE WHEN n % 4 > 0 THEN format(place.phone, to_char(n % 100, 'FM00')) END,
           first_name, last_name, n % 8 > 0
      FROM person JOIN place USING (n)
     WHERE false
    RETURNING id
)
SELECT count(*) AS nobody_yet FROM customer;
