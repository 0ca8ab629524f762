-- The tables of a Medusa v2 shop that an order touches, as its migrations make
-- them.  In an empty database, by the shop's role.
CREATE TYPE order_status_enum AS ENUM
    ('pending', 'completed', 'draft', 'archived', 'canceled', 'requires_action');

CREATE TABLE customer (
    id text PRIMARY KEY,
    email text,
    first_name text,
    last_name text,
    phone text,
    has_account boolean NOT NULL DEFAULT false,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE order_address (
    id text PRIMARY KEY,
    customer_id text,
    company text,
    first_name text,
    last_name text,
    address_1 text,
    address_2 text,
    city text,
    country_code text,
    province text,
    postal_code text,
    phone text,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE "order" (
    id text PRIMARY KEY,
    region_id text,
    display_id serial,
    customer_id text,
    version integer NOT NULL DEFAULT 1,
    sales_channel_id text,
    status order_status_enum NOT NULL DEFAULT 'pending',
    is_draft_order boolean NOT NULL DEFAULT false,
    email text,
    currency_code text NOT NULL,
    shipping_address_id text REFERENCES order_address ON UPDATE CASCADE ON DELETE SET NULL,
    billing_address_id text REFERENCES order_address ON UPDATE CASCADE ON DELETE SET NULL,
    no_notification boolean,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    canceled_at timestamptz,
    custom_display_id text,
    locale text
);

CREATE TABLE order_line_item (
    id text PRIMARY KEY,
    title text NOT NULL,
    subtitle text,
    thumbnail text,
    variant_id text,
    product_id text,
    variant_sku text,
    requires_shipping boolean NOT NULL DEFAULT true,
    is_discountable boolean NOT NULL DEFAULT true,
    is_tax_inclusive boolean NOT NULL DEFAULT false,
    compare_at_unit_price numeric,
    raw_compare_at_unit_price jsonb,
    unit_price numeric NOT NULL,
    raw_unit_price jsonb NOT NULL,
    is_custom_price boolean NOT NULL DEFAULT false,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE order_line_item_tax_line (
    id text PRIMARY KEY,
    description text,
    tax_rate_id text,
    code text NOT NULL,
    rate numeric NOT NULL,
    raw_rate jsonb NOT NULL,
    item_id text NOT NULL REFERENCES order_line_item ON UPDATE CASCADE ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE order_item (
    id text PRIMARY KEY,
    order_id text NOT NULL REFERENCES "order" ON UPDATE CASCADE ON DELETE CASCADE,
    version integer NOT NULL,
    item_id text NOT NULL REFERENCES order_line_item ON UPDATE CASCADE ON DELETE CASCADE,
    unit_price numeric,
    raw_unit_price jsonb,
    compare_at_unit_price numeric,
    raw_compare_at_unit_price jsonb,
    quantity numeric NOT NULL,
    raw_quantity jsonb NOT NULL,
    fulfilled_quantity numeric NOT NULL DEFAULT 0,
    raw_fulfilled_quantity jsonb NOT NULL DEFAULT '{"value": "0", "precision": 20}',
    shipped_quantity numeric NOT NULL DEFAULT 0,
    raw_shipped_quantity jsonb NOT NULL DEFAULT '{"value": "0", "precision": 20}',
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX ON order_item (order_id) WHERE deleted_at IS NULL;

CREATE TABLE order_summary (
    id text PRIMARY KEY,
    order_id text NOT NULL REFERENCES "order" ON UPDATE CASCADE ON DELETE CASCADE,
    version integer NOT NULL DEFAULT 1,
    totals jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX ON order_summary (order_id, version) WHERE deleted_at IS NULL;

CREATE TABLE order_shipping_method (
    id text PRIMARY KEY,
    name text NOT NULL,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    is_tax_inclusive boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE order_shipping (
    id text PRIMARY KEY,
    order_id text NOT NULL REFERENCES "order" ON UPDATE CASCADE ON DELETE CASCADE,
    version integer NOT NULL,
    shipping_method_id text NOT NULL REFERENCES order_shipping_method ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE order_credit_line (
    id text PRIMARY KEY,
    order_id text NOT NULL REFERENCES "order" ON UPDATE CASCADE ON DELETE CASCADE,
    version integer NOT NULL DEFAULT 1,
    reference text,
    reference_id text,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE order_transaction (
    id text PRIMARY KEY,
    order_id text NOT NULL REFERENCES "order" ON UPDATE CASCADE ON DELETE CASCADE,
    version integer NOT NULL DEFAULT 1,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    currency_code text NOT NULL,
    reference text,
    reference_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    return_id text,
    claim_id text,
    exchange_id text
);
CREATE INDEX ON order_transaction (order_id) WHERE deleted_at IS NULL;

-- The payment module and the links: no foreign key leads from one to the other.
CREATE TABLE payment_collection (
    id text PRIMARY KEY,
    currency_code text NOT NULL,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    authorized_amount numeric,
    raw_authorized_amount jsonb,
    captured_amount numeric,
    raw_captured_amount jsonb,
    refunded_amount numeric,
    raw_refunded_amount jsonb,
    completed_at timestamptz,
    status text NOT NULL DEFAULT 'not_paid'
        CHECK (status IN ('not_paid', 'awaiting', 'authorized', 'partially_authorized', 'canceled',
                          'failed', 'partially_captured', 'completed')),
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE payment (
    id text PRIMARY KEY,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    currency_code text NOT NULL,
    provider_id text NOT NULL,
    data jsonb,
    captured_at timestamptz,
    canceled_at timestamptz,
    payment_collection_id text NOT NULL REFERENCES payment_collection ON UPDATE CASCADE ON DELETE CASCADE,
    payment_session_id text NOT NULL,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE capture (
    id text PRIMARY KEY,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    payment_id text NOT NULL REFERENCES payment ON UPDATE CASCADE ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    created_by text
);

CREATE TABLE refund (
    id text PRIMARY KEY,
    amount numeric NOT NULL,
    raw_amount jsonb NOT NULL,
    payment_id text NOT NULL REFERENCES payment ON UPDATE CASCADE ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    created_by text
);

CREATE TABLE order_payment_collection (
    order_id character varying(255) NOT NULL,
    payment_collection_id character varying(255) NOT NULL,
    id character varying(255) NOT NULL,
    created_at timestamptz(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at timestamptz(0),
    PRIMARY KEY (order_id, payment_collection_id)
);

CREATE TABLE order_cart (
    order_id character varying(255) NOT NULL,
    cart_id character varying(255) NOT NULL,
    id character varying(255) NOT NULL,
    created_at timestamptz(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at timestamptz(0),
    PRIMARY KEY (order_id, cart_id)
);
