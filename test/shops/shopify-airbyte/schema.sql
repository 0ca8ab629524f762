-- The table of the stream "orders" of a Shopify shop as Airbyte makes it, typed, with
-- the columns that matter here.  In an empty database, by the role that syncs.
CREATE TABLE orders (
    id bigint,
    name character varying,
    number bigint,
    test boolean,
    email character varying,
    phone character varying,
    currency character varying,
    created_at timestamptz,
    updated_at timestamptz,
    processed_at character varying,
    cancelled_at timestamptz,
    financial_status character varying,
    fulfillment_status character varying,
    total_price numeric(38, 9),
    current_total_price numeric(38, 9),
    source_name character varying,
    browser_ip character varying,
    landing_site character varying,
    order_status_url character varying,
    client_details jsonb,
    note_attributes jsonb,
    customer jsonb,
    billing_address jsonb,
    shipping_address jsonb,
    line_items jsonb,
    refunds jsonb,
    shop_url character varying,
    _airbyte_raw_id character varying NOT NULL,
    _airbyte_extracted_at timestamptz NOT NULL,
    _airbyte_meta jsonb NOT NULL,
    _airbyte_generation_id bigint
);

-- not Airbyte's: what the README advises
CREATE INDEX ON orders (id, _airbyte_extracted_at);
