-- The tables of an Odoo shop (sale, payment, delivery, website_sale) that an
-- order touches, with the columns that matter here.  In an empty database, by
-- the shop's role.
CREATE TABLE res_currency (
    id serial PRIMARY KEY,
    name character varying NOT NULL UNIQUE,
    symbol character varying NOT NULL,
    decimal_places integer,
    rounding numeric,
    active boolean
);

CREATE TABLE res_country (
    id serial PRIMARY KEY,
    code character varying(2) NOT NULL UNIQUE,
    name jsonb NOT NULL,
    phone_code integer
);

CREATE TABLE res_country_state (
    id serial PRIMARY KEY,
    country_id integer NOT NULL REFERENCES res_country,
    name character varying NOT NULL,
    code character varying NOT NULL
);

CREATE TABLE res_partner (
    id serial PRIMARY KEY,
    name character varying,
    parent_id integer REFERENCES res_partner,
    commercial_partner_id integer REFERENCES res_partner,
    is_company boolean,
    type character varying,
    email character varying,
    email_normalized character varying,
    phone character varying,
    street character varying,
    city character varying,
    zip character varying,
    state_id integer REFERENCES res_country_state,
    country_id integer REFERENCES res_country,
    write_date timestamp without time zone
);

CREATE TABLE res_users (
    id serial PRIMARY KEY,
    partner_id integer NOT NULL REFERENCES res_partner,
    login character varying NOT NULL
);

CREATE TABLE website (
    id serial PRIMARY KEY,
    name character varying NOT NULL,
    user_id integer NOT NULL REFERENCES res_users,
    company_id integer NOT NULL
);

CREATE TABLE product_product (
    id serial PRIMARY KEY,
    default_code character varying,
    barcode character varying,
    product_tmpl_id integer NOT NULL,
    active boolean
);

CREATE TABLE sale_order (
    id serial PRIMARY KEY,
    name character varying NOT NULL,
    state character varying,
    company_id integer NOT NULL,
    partner_id integer NOT NULL REFERENCES res_partner,
    partner_invoice_id integer NOT NULL REFERENCES res_partner,
    partner_shipping_id integer NOT NULL REFERENCES res_partner,
    currency_id integer REFERENCES res_currency,
    currency_rate numeric,
    website_id integer REFERENCES website ON DELETE SET NULL,
    team_id integer,
    user_id integer,
    client_order_ref character varying,
    origin character varying,
    reference character varying,
    date_order timestamp without time zone NOT NULL,
    amount_untaxed numeric,
    amount_tax numeric,
    amount_total numeric,
    invoice_status character varying,
    locked boolean,
    create_date timestamp without time zone,
    write_date timestamp without time zone,
    CHECK ((state = 'sale' AND date_order IS NOT NULL) OR state != 'sale')
);

CREATE TABLE sale_order_line (
    id serial PRIMARY KEY,
    order_id integer NOT NULL REFERENCES sale_order ON DELETE CASCADE,
    sequence integer,
    product_id integer REFERENCES product_product,
    name text NOT NULL,
    product_uom_qty numeric NOT NULL,
    price_unit numeric NOT NULL,
    discount numeric,
    price_subtotal numeric,
    price_total numeric,
    display_type character varying,
    is_delivery boolean,
    is_downpayment boolean,
    state character varying,
    create_date timestamp without time zone,
    write_date timestamp without time zone
);
CREATE INDEX ON sale_order_line (order_id);

CREATE TABLE payment_provider (
    id serial PRIMARY KEY,
    code character varying NOT NULL,
    state character varying NOT NULL,
    name jsonb NOT NULL
);

CREATE TABLE payment_transaction (
    id serial PRIMARY KEY,
    provider_id integer NOT NULL REFERENCES payment_provider,
    reference character varying NOT NULL UNIQUE,
    amount numeric NOT NULL,
    currency_id integer NOT NULL REFERENCES res_currency,
    state character varying NOT NULL,
    operation character varying,
    last_state_change timestamp without time zone,
    source_transaction_id integer REFERENCES payment_transaction,
    is_post_processed boolean,
    partner_id integer NOT NULL REFERENCES res_partner,
    partner_name character varying,
    partner_lang character varying,
    partner_email character varying,
    partner_address character varying,
    partner_zip character varying,
    partner_city character varying,
    partner_state_id integer REFERENCES res_country_state,
    partner_country_id integer REFERENCES res_country,
    partner_phone character varying,
    create_date timestamp without time zone,
    write_date timestamp without time zone
);

CREATE TABLE sale_order_transaction_rel (
    transaction_id integer NOT NULL REFERENCES payment_transaction ON DELETE CASCADE,
    sale_order_id integer NOT NULL REFERENCES sale_order ON DELETE CASCADE,
    PRIMARY KEY (transaction_id, sale_order_id)
);
CREATE INDEX ON sale_order_transaction_rel (sale_order_id, transaction_id);

INSERT INTO res_currency (id, name, symbol, decimal_places, rounding, active)
VALUES (1, 'EUR', '€', 2, 0.01, true), (2, 'JPY', '¥', 0, 1, true);

INSERT INTO res_country (id, code, name, phone_code)
VALUES (1, 'BE', '{"en_US": "Belgium"}', 32), (2, 'CA', '{"en_US": "Canada"}', 1);

INSERT INTO res_country_state (id, country_id, name, code) VALUES (1, 2, 'Québec', 'QC');

INSERT INTO res_partner (id, name, commercial_partner_id, is_company) VALUES (1, 'Public user', 1, false);

INSERT INTO res_users (id, partner_id, login) VALUES (1, 1, 'public');

INSERT INTO website (id, name, user_id, company_id) VALUES (1, 'Shop', 1, 1);

INSERT INTO product_product (id, default_code, product_tmpl_id, active)
VALUES (1, 'DESK', 1, true), (2, NULL, 2, true), (3, 'SHIPPING', 3, true), (4, 'COFFEE', 4, true);

INSERT INTO payment_provider (id, code, state, name)
VALUES (1, 'card', 'enabled', '{"en_US": "Card"}'), (2, 'demo', 'test', '{"en_US": "Demo"}'),
       (3, 'custom', 'enabled', '{"en_US": "Wire transfer"}');
