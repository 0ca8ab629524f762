-- The tables of a Spree 5.6 shop that an order touches, as its migrations make
-- them.  In an empty database, by the shop's role.
CREATE TABLE spree_countries (
    id bigserial PRIMARY KEY,
    iso_name character varying,
    iso character varying NOT NULL,
    iso3 character varying NOT NULL,
    name character varying,
    numcode integer,
    states_required boolean DEFAULT false,
    zipcode_required boolean DEFAULT true,
    created_at timestamp without time zone,
    updated_at timestamp without time zone
);

CREATE TABLE spree_states (
    id bigserial PRIMARY KEY,
    name character varying,
    abbr character varying,
    country_id bigint,
    created_at timestamp without time zone,
    updated_at timestamp without time zone
);

CREATE TABLE spree_addresses (
    id bigserial PRIMARY KEY,
    firstname character varying,
    lastname character varying,
    address1 character varying,
    address2 character varying,
    city character varying,
    zipcode character varying,
    phone character varying,
    state_name character varying,
    alternative_phone character varying,
    company character varying,
    state_id bigint,
    country_id bigint,
    user_id bigint,
    label character varying,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL,
    deleted_at timestamp without time zone
);

CREATE TABLE spree_variants (
    id bigserial PRIMARY KEY,
    sku character varying NOT NULL DEFAULT '',
    is_master boolean DEFAULT false,
    product_id bigint,
    "position" integer,
    track_inventory boolean DEFAULT true,
    created_at timestamp without time zone NOT NULL,
    updated_at timestamp without time zone NOT NULL,
    deleted_at timestamp without time zone
);

CREATE TABLE spree_orders (
    id bigserial PRIMARY KEY,
    number character varying(32),
    item_total numeric(10, 2) NOT NULL DEFAULT 0.0,
    total numeric(10, 2) NOT NULL DEFAULT 0.0,
    state character varying,
    adjustment_total numeric(10, 2) NOT NULL DEFAULT 0.0,
    user_id bigint,
    completed_at timestamp without time zone,
    bill_address_id bigint,
    ship_address_id bigint,
    payment_total numeric(10, 2) DEFAULT 0.0,
    shipment_state character varying,
    payment_state character varying,
    email character varying,
    special_instructions text,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL,
    currency character varying,
    last_ip_address character varying,
    created_by_id bigint,
    shipment_total numeric(10, 2) NOT NULL DEFAULT 0.0,
    additional_tax_total numeric(10, 2) DEFAULT 0.0,
    promo_total numeric(10, 2) DEFAULT 0.0,
    channel character varying DEFAULT 'spree',
    included_tax_total numeric(10, 2) NOT NULL DEFAULT 0.0,
    item_count integer DEFAULT 0,
    considered_risky boolean DEFAULT false,
    token character varying,
    canceled_at timestamp without time zone,
    canceler_id bigint,
    store_id bigint,
    state_lock_version integer NOT NULL DEFAULT 0,
    public_metadata jsonb,
    private_metadata jsonb,
    internal_note text,
    locale character varying,
    market_id bigint,
    status character varying,
    channel_id bigint
);
CREATE UNIQUE INDEX ON spree_orders (number);
CREATE INDEX ON spree_orders (completed_at);

CREATE TABLE spree_line_items (
    id bigserial PRIMARY KEY,
    variant_id bigint,
    order_id bigint,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    currency character varying,
    adjustment_total numeric(10, 2) DEFAULT 0.0,
    additional_tax_total numeric(10, 2) DEFAULT 0.0,
    promo_total numeric(10, 2) DEFAULT 0.0,
    included_tax_total numeric(10, 2) NOT NULL DEFAULT 0.0,
    pre_tax_amount numeric(12, 4) NOT NULL DEFAULT 0.0,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE INDEX ON spree_line_items (order_id);

CREATE TABLE spree_payments (
    id bigserial PRIMARY KEY,
    amount numeric(10, 2) NOT NULL DEFAULT 0.0,
    order_id bigint,
    source_type character varying,
    source_id bigint,
    payment_method_id bigint,
    state character varying,
    response_code character varying,
    number character varying,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE INDEX ON spree_payments (order_id);

CREATE TABLE spree_refunds (
    id bigserial PRIMARY KEY,
    payment_id bigint,
    amount numeric(10, 2) NOT NULL DEFAULT 0.0,
    transaction_id character varying,
    refund_reason_id bigint,
    reimbursement_id bigint,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);

CREATE TABLE spree_state_changes (
    id bigserial PRIMARY KEY,
    name character varying,
    previous_state character varying,
    stateful_id bigint,
    user_id bigint,
    stateful_type character varying,
    next_state character varying,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE INDEX ON spree_state_changes (stateful_id, stateful_type);

INSERT INTO spree_countries (id, iso, iso3, name)
VALUES (1, 'US', 'USA', 'United States'), (2, 'GB', 'GBR', 'United Kingdom'), (3, 'JP', 'JPN', 'Japan');

INSERT INTO spree_states (id, name, abbr, country_id) VALUES (1, 'California', 'CA', 1);

INSERT INTO spree_variants (id, sku, created_at, updated_at)
VALUES (1, 'CAP-RED', now(), now()), (2, '', now(), now());
