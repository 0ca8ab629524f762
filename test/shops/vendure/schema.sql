-- The tables of a Vendure 3 shop that an order touches, as TypeORM makes them:
-- the default ids and money, no custom fields.  In an empty database, by the
-- shop's role.
CREATE TABLE channel (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    code character varying NOT NULL UNIQUE,
    "defaultCurrencyCode" character varying NOT NULL
);

CREATE TABLE customer (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    "deletedAt" timestamp,
    title character varying,
    "firstName" character varying NOT NULL,
    "lastName" character varying NOT NULL,
    "phoneNumber" character varying,
    "emailAddress" character varying NOT NULL,
    "userId" integer
);

CREATE TABLE product_variant (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    "deletedAt" timestamp,
    enabled boolean NOT NULL DEFAULT true,
    sku character varying NOT NULL,
    "trackInventory" character varying NOT NULL DEFAULT 'INHERIT',
    "productId" integer
);

CREATE TABLE "order" (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    type character varying NOT NULL DEFAULT 'Regular',
    code character varying NOT NULL,
    state character varying NOT NULL,
    active boolean NOT NULL DEFAULT true,
    "orderPlacedAt" timestamp,
    "couponCodes" text NOT NULL,
    "shippingAddress" text NOT NULL,
    "billingAddress" text NOT NULL,
    "currencyCode" character varying NOT NULL,
    "aggregateOrderId" integer REFERENCES "order",
    "customerId" integer REFERENCES customer,
    "taxZoneId" integer,
    "subTotal" integer NOT NULL,
    "subTotalWithTax" integer NOT NULL,
    shipping integer NOT NULL DEFAULT 0,
    "shippingWithTax" integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX ON "order" (code);
CREATE INDEX ON "order" ("orderPlacedAt");
CREATE INDEX ON "order" ("customerId");
CREATE INDEX ON "order" ("aggregateOrderId");

CREATE TABLE order_channels_channel (
    "orderId" integer NOT NULL REFERENCES "order" ON UPDATE CASCADE ON DELETE CASCADE,
    "channelId" integer NOT NULL REFERENCES channel ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY ("orderId", "channelId")
);

CREATE TABLE shipping_line (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    "listPriceIncludesTax" boolean NOT NULL,
    adjustments text NOT NULL,
    "taxLines" text NOT NULL,
    "shippingMethodId" integer NOT NULL,
    "listPrice" integer NOT NULL,
    "orderId" integer REFERENCES "order"
);

CREATE TABLE order_line (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    quantity integer NOT NULL,
    "orderPlacedQuantity" integer NOT NULL DEFAULT 0,
    "listPriceIncludesTax" boolean NOT NULL,
    adjustments text NOT NULL,
    "taxLines" text NOT NULL,
    "sellerChannelId" integer REFERENCES channel ON DELETE SET NULL,
    "shippingLineId" integer REFERENCES shipping_line ON DELETE SET NULL,
    "productVariantId" integer NOT NULL REFERENCES product_variant ON DELETE CASCADE,
    "taxCategoryId" integer,
    "initialListPrice" integer,
    "listPrice" integer NOT NULL,
    "featuredAssetId" integer,
    "orderId" integer REFERENCES "order" ON DELETE CASCADE
);
CREATE INDEX ON order_line ("orderId");

CREATE TABLE payment (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    method character varying NOT NULL,
    state character varying NOT NULL,
    "errorMessage" character varying,
    "transactionId" character varying,
    metadata text NOT NULL,
    amount integer NOT NULL,
    "orderId" integer REFERENCES "order"
);
CREATE INDEX ON payment ("orderId");

CREATE TABLE refund (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    method character varying NOT NULL,
    reason character varying,
    state character varying NOT NULL,
    "transactionId" character varying,
    metadata text NOT NULL,
    "paymentId" integer NOT NULL REFERENCES payment,
    items integer NOT NULL,
    shipping integer NOT NULL,
    adjustment integer NOT NULL,
    total integer NOT NULL
);

CREATE TABLE order_modification (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    note character varying NOT NULL,
    "shippingAddressChange" text,
    "billingAddressChange" text,
    "priceChange" integer NOT NULL,
    "orderId" integer REFERENCES "order" ON DELETE CASCADE,
    "paymentId" integer REFERENCES payment,
    "refundId" integer REFERENCES refund
);
CREATE INDEX ON order_modification ("orderId");

CREATE TABLE history_entry (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    type character varying NOT NULL,
    "isPublic" boolean NOT NULL,
    data text NOT NULL,
    discriminator character varying NOT NULL,
    "administratorId" integer,
    "customerId" integer,
    "orderId" integer REFERENCES "order" ON DELETE CASCADE
);
CREATE INDEX ON history_entry ("orderId");

CREATE TABLE stock_movement (
    id serial PRIMARY KEY,
    "createdAt" timestamp(6) NOT NULL DEFAULT now(),
    "updatedAt" timestamp(6) NOT NULL DEFAULT now(),
    type character varying NOT NULL,
    quantity integer NOT NULL,
    discriminator character varying NOT NULL,
    "productVariantId" integer REFERENCES product_variant,
    "orderLineId" integer REFERENCES order_line
);

INSERT INTO channel (id, code, "defaultCurrencyCode")
VALUES (1, '__default_channel__', 'USD'), (2, 'europe', 'EUR'), (3, 'seller-a', 'USD');

INSERT INTO product_variant (id, sku)
VALUES (1, 'MUG'), (2, 'TEE-M'), (3, 'LAMP'), (4, '');
