-- The tables of the Stripe Sync Engine that a payment touches, as its migrations
-- make them: what Stripe sent is in _raw_data, the columns are generated from it.
-- In an empty database, by the role that syncs.
CREATE SCHEMA stripe;
GRANT USAGE ON SCHEMA stripe TO shop_app;

CREATE TABLE stripe.payment_intents (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    amount bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount')::bigint) STORED,
    amount_received bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_received')::bigint) STORED,
    amount_capturable bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_capturable')::bigint) STORED,
    canceled_at integer GENERATED ALWAYS AS ((_raw_data ->> 'canceled_at')::integer) STORED,
    capture_method text GENERATED ALWAYS AS (_raw_data ->> 'capture_method') STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    customer text GENERATED ALWAYS AS (_raw_data ->> 'customer') STORED,
    description text GENERATED ALWAYS AS (_raw_data ->> 'description') STORED,
    invoice text GENERATED ALWAYS AS (_raw_data ->> 'invoice') STORED,
    livemode boolean GENERATED ALWAYS AS ((_raw_data ->> 'livemode')::boolean) STORED,
    metadata jsonb GENERATED ALWAYS AS (_raw_data -> 'metadata') STORED,
    payment_method text GENERATED ALWAYS AS (_raw_data ->> 'payment_method') STORED,
    receipt_email text GENERATED ALWAYS AS (_raw_data ->> 'receipt_email') STORED,
    shipping jsonb GENERATED ALWAYS AS (_raw_data -> 'shipping') STORED,
    status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED
);

CREATE TABLE stripe.charges (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    paid boolean GENERATED ALWAYS AS ((_raw_data ->> 'paid')::boolean) STORED,
    amount bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount')::bigint) STORED,
    status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    invoice text GENERATED ALWAYS AS (_raw_data ->> 'invoice') STORED,
    refunds jsonb GENERATED ALWAYS AS (_raw_data -> 'refunds') STORED,
    captured boolean GENERATED ALWAYS AS ((_raw_data ->> 'captured')::boolean) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    customer text GENERATED ALWAYS AS (_raw_data ->> 'customer') STORED,
    livemode boolean GENERATED ALWAYS AS ((_raw_data ->> 'livemode')::boolean) STORED,
    metadata jsonb GENERATED ALWAYS AS (_raw_data -> 'metadata') STORED,
    refunded boolean GENERATED ALWAYS AS ((_raw_data ->> 'refunded')::boolean) STORED,
    shipping jsonb GENERATED ALWAYS AS (_raw_data -> 'shipping') STORED,
    receipt_email text GENERATED ALWAYS AS (_raw_data ->> 'receipt_email') STORED,
    payment_intent text GENERATED ALWAYS AS (_raw_data ->> 'payment_intent') STORED,
    amount_refunded bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_refunded')::bigint) STORED,
    balance_transaction text GENERATED ALWAYS AS (_raw_data ->> 'balance_transaction') STORED,
    payment_method_details jsonb GENERATED ALWAYS AS (_raw_data -> 'payment_method_details') STORED
);

CREATE TABLE stripe.customers (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    address jsonb GENERATED ALWAYS AS (_raw_data -> 'address') STORED,
    email text GENERATED ALWAYS AS (_raw_data ->> 'email') STORED,
    name text GENERATED ALWAYS AS (_raw_data ->> 'name') STORED,
    phone text GENERATED ALWAYS AS (_raw_data ->> 'phone') STORED,
    shipping jsonb GENERATED ALWAYS AS (_raw_data -> 'shipping') STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    livemode boolean GENERATED ALWAYS AS ((_raw_data ->> 'livemode')::boolean) STORED,
    metadata jsonb GENERATED ALWAYS AS (_raw_data -> 'metadata') STORED,
    deleted boolean GENERATED ALWAYS AS ((_raw_data ->> 'deleted')::boolean) STORED
);

CREATE TABLE stripe.invoices (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED,
    total bigint GENERATED ALWAYS AS ((_raw_data ->> 'total')::bigint) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    number text GENERATED ALWAYS AS (_raw_data ->> 'number') STORED,
    paid boolean GENERATED ALWAYS AS ((_raw_data ->> 'paid')::boolean) STORED,
    amount_due bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_due')::bigint) STORED,
    amount_paid bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_paid')::bigint) STORED,
    billing_reason text GENERATED ALWAYS AS (_raw_data ->> 'billing_reason') STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    customer text GENERATED ALWAYS AS (_raw_data ->> 'customer') STORED,
    customer_email text GENERATED ALWAYS AS (_raw_data ->> 'customer_email') STORED,
    customer_name text GENERATED ALWAYS AS (_raw_data ->> 'customer_name') STORED,
    customer_phone text GENERATED ALWAYS AS (_raw_data ->> 'customer_phone') STORED,
    customer_address jsonb GENERATED ALWAYS AS (_raw_data -> 'customer_address') STORED,
    customer_shipping jsonb GENERATED ALWAYS AS (_raw_data -> 'customer_shipping') STORED,
    lines jsonb GENERATED ALWAYS AS (_raw_data -> 'lines') STORED,
    livemode boolean GENERATED ALWAYS AS ((_raw_data ->> 'livemode')::boolean) STORED,
    metadata jsonb GENERATED ALWAYS AS (_raw_data -> 'metadata') STORED,
    subscription text GENERATED ALWAYS AS (_raw_data ->> 'subscription') STORED,
    payment_intent text GENERATED ALWAYS AS (_raw_data ->> 'payment_intent') STORED,
    charge text GENERATED ALWAYS AS (_raw_data ->> 'charge') STORED
);

CREATE TABLE stripe.invoice_payments (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    amount_paid bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_paid')::bigint) STORED,
    amount_requested bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_requested')::bigint) STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    invoice text GENERATED ALWAYS AS (_raw_data ->> 'invoice') STORED,
    is_default boolean GENERATED ALWAYS AS ((_raw_data ->> 'is_default')::boolean) STORED,
    livemode boolean GENERATED ALWAYS AS ((_raw_data ->> 'livemode')::boolean) STORED,
    payment jsonb GENERATED ALWAYS AS (_raw_data -> 'payment') STORED,
    status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED
);

CREATE TABLE stripe.checkout_sessions (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    amount_total bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_total')::bigint) STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    customer text GENERATED ALWAYS AS (_raw_data ->> 'customer') STORED,
    customer_details jsonb GENERATED ALWAYS AS (_raw_data -> 'customer_details') STORED,
    customer_email text GENERATED ALWAYS AS (_raw_data ->> 'customer_email') STORED,
    invoice text GENERATED ALWAYS AS (_raw_data ->> 'invoice') STORED,
    livemode boolean GENERATED ALWAYS AS ((_raw_data ->> 'livemode')::boolean) STORED,
    metadata jsonb GENERATED ALWAYS AS (_raw_data -> 'metadata') STORED,
    mode text GENERATED ALWAYS AS (_raw_data ->> 'mode') STORED,
    payment_intent text GENERATED ALWAYS AS (_raw_data ->> 'payment_intent') STORED,
    payment_status text GENERATED ALWAYS AS (_raw_data ->> 'payment_status') STORED,
    shipping_details jsonb GENERATED ALWAYS AS (_raw_data -> 'shipping_details') STORED,
    status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED,
    subscription text GENERATED ALWAYS AS (_raw_data ->> 'subscription') STORED
);

CREATE TABLE stripe.checkout_session_line_items (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    amount_total bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_total')::bigint) STORED,
    amount_subtotal bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount_subtotal')::bigint) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    description text GENERATED ALWAYS AS (_raw_data ->> 'description') STORED,
    price text GENERATED ALWAYS AS (_raw_data ->> 'price') STORED,
    quantity integer GENERATED ALWAYS AS ((_raw_data ->> 'quantity')::integer) STORED,
    checkout_session text GENERATED ALWAYS AS (_raw_data ->> 'checkout_session') STORED
);

CREATE TABLE stripe.refunds (
    _raw_data jsonb,
    _account_id text NOT NULL,
    _last_synced_at timestamptz,
    _updated_at timestamptz NOT NULL DEFAULT now(),
    id text GENERATED ALWAYS AS (_raw_data ->> 'id') STORED PRIMARY KEY,
    object text GENERATED ALWAYS AS (_raw_data ->> 'object') STORED,
    amount bigint GENERATED ALWAYS AS ((_raw_data ->> 'amount')::bigint) STORED,
    charge text GENERATED ALWAYS AS (_raw_data ->> 'charge') STORED,
    created integer GENERATED ALWAYS AS ((_raw_data ->> 'created')::integer) STORED,
    currency text GENERATED ALWAYS AS (_raw_data ->> 'currency') STORED,
    payment_intent text GENERATED ALWAYS AS (_raw_data ->> 'payment_intent') STORED,
    reason text GENERATED ALWAYS AS (_raw_data ->> 'reason') STORED,
    status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED
);

CREATE INDEX ON stripe.checkout_sessions (payment_intent);
CREATE INDEX ON stripe.checkout_session_line_items (checkout_session);
CREATE INDEX ON stripe.invoice_payments (invoice);

-- not the engine's: what the README advises
CREATE INDEX ON stripe.invoice_payments ((payment ->> 'payment_intent'));
