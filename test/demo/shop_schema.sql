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

-- Two hundred customers of five countries, one in eight without consent;
-- names, addresses and phones written as people write them.
INSERT INTO customers (email, phone, first_name, last_name, marketing_consent)
SELECT CASE n % 3 WHEN 0 THEN format(' Customer.%s@Example.COM ', n)
                  ELSE format('customer.%s@example.com', n) END,
       CASE WHEN n % 4 > 0 THEN
           (ARRAY['0221 47105', '(650) 555-01', '+44 20 7946 01', '031-39 01 ', '+48 12 616 12 '])[1 + n % 5]
           || to_char(n % 100, 'FM00') END,
       (ARRAY['Zoë', 'Anna-Lena', 'John', 'Łukasz', 'Ingrid', 'MARY', 'José', 'Björn'])[1 + n % 8],
       (ARRAY['Müller', 'O''Brien', 'Smith', 'Nowak', 'Åkesson', 'van der Berg', 'García'])[1 + n % 7],
       n % 8 > 0
  FROM generate_series(1, 200) n
 ORDER BY n;

INSERT INTO addresses (customer_id, street, city, region, postcode, country_code)
SELECT id, 'High Street ' || id,
       (ARRAY['Köln', 'Menlo Park', 'London', 'Göteborg', 'Kraków'])[1 + id % 5],
       (ARRAY[NULL, 'CA', NULL, NULL, NULL])[1 + id % 5],
       (ARRAY['50667', '94025-1452', 'SW1A 1AA', '411 03', '31-042'])[1 + id % 5],
       (ARRAY['DE', 'US', 'GB', 'SE', 'PL'])[1 + id % 5]
  FROM customers
 ORDER BY id;

INSERT INTO products (sku, title, price)
VALUES ('MUG-01', 'Mug', 12.90), ('MUG-02', 'Large mug', 15.50),
       ('TEE-S', 'T-shirt S', 24.00), ('TEE-M', 'T-shirt M', 24.00),
       ('TEE-L', 'T-shirt L', 24.00), ('POSTER', 'Poster', 9.95),
       ('LAMP', 'Desk lamp', 79.00), ('PEN', 'Pen', 1.49),
       ('BOOK', 'Notebook', 6.30), ('BAG', 'Bag', 34.99),
       ('SAMPLE', 'Free sample', 0.00), ('CARD', 'Postcard', 0.85);
