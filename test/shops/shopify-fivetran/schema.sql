-- The tables of a Shopify shop that an order touches as Fivetran makes them, with the
-- columns that matter here.  In an empty database, by the role that syncs.
CREATE SCHEMA shopify;
GRANT USAGE ON SCHEMA shopify TO shop_app;

CREATE TABLE shopify.customer (
    id bigint PRIMARY KEY,
    email text,
    first_name text,
    last_name text,
    phone text,
    created_at timestamptz,
    updated_at timestamptz,
    _fivetran_deleted boolean,
    _fivetran_synced timestamptz
);

CREATE TABLE shopify."order" (
    id bigint PRIMARY KEY,
    name text,
    number bigint,
    order_number bigint,
    customer_id bigint,
    user_id bigint,
    location_id bigint,
    email text,
    test boolean,
    currency text,
    financial_status text,
    fulfillment_status text,
    total_price double precision,
    subtotal_price double precision,
    current_total_price double precision,
    source_name text,
    browser_ip text,
    client_details_user_agent text,
    landing_site_base_url text,
    order_status_url text,
    created_at timestamptz,
    updated_at timestamptz,
    processed_at timestamptz,
    cancelled_at timestamptz,
    billing_address_first_name text,
    billing_address_last_name text,
    billing_address_city text,
    billing_address_zip text,
    billing_address_province text,
    billing_address_province_code text,
    billing_address_country text,
    billing_address_country_code text,
    billing_address_phone text,
    shipping_address_first_name text,
    shipping_address_last_name text,
    shipping_address_city text,
    shipping_address_zip text,
    shipping_address_province text,
    shipping_address_province_code text,
    shipping_address_country text,
    shipping_address_country_code text,
    shipping_address_phone text,
    _fivetran_deleted boolean,
    _fivetran_synced timestamptz
);

CREATE TABLE shopify.order_line (
    id bigint PRIMARY KEY,
    order_id bigint,
    index bigint,
    product_id bigint,
    variant_id bigint,
    sku text,
    name text,
    quantity bigint,
    price double precision,
    _fivetran_synced timestamptz
);
CREATE INDEX ON shopify.order_line (order_id);
