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

-- The same as a connection makes them that reads Shopify's GraphQL API.
CREATE SCHEMA shopify_graphql;

CREATE TABLE shopify_graphql.customer (LIKE shopify.customer INCLUDING ALL);

CREATE TABLE shopify_graphql."order" (LIKE shopify."order" INCLUDING ALL);
ALTER TABLE shopify_graphql."order" DROP order_number, DROP user_id, DROP subtotal_price, DROP current_total_price,
    DROP client_details_user_agent, DROP landing_site_base_url;
ALTER TABLE shopify_graphql."order" RENAME financial_status TO display_financial_status;
ALTER TABLE shopify_graphql."order" RENAME fulfillment_status TO display_fulfillment_status;
ALTER TABLE shopify_graphql."order" RENAME total_price TO total_price_set_shop_amount;
ALTER TABLE shopify_graphql."order" RENAME currency TO currency_code;
ALTER TABLE shopify_graphql."order" RENAME browser_ip TO client_ip;
ALTER TABLE shopify_graphql."order" RENAME order_status_url TO status_page_url;

CREATE TABLE shopify_graphql.order_line (LIKE shopify.order_line INCLUDING ALL);
ALTER TABLE shopify_graphql.order_line DROP index;
ALTER TABLE shopify_graphql.order_line RENAME price TO original_unit_price_set_shop_amount;
