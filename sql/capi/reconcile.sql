----------------------------------------------------------------------------
-- Do my orders and what was sent agree?
----------------------------------------------------------------------------

CREATE FUNCTION capi.reconcile(source text, since timestamptz = now() - interval '7 days',
        until timestamptz = now(), bucket interval = '1 day')
    RETURNS TABLE (bucket timestamptz, currency text, orders bigint, delivered bigint, waiting bigint,
                   ignored bigint, rejected bigint, expired bigint, missing bigint,
                   order_value numeric, delivered_value numeric)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_reconcile';

CREATE FUNCTION capi.missing_orders(source text, since timestamptz = now() - interval '7 days',
        until timestamptz = now())
    RETURNS TABLE (order_key text, event_time timestamptz, value numeric, currency text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_missing_orders';

CREATE FUNCTION capi.drift(source text, since timestamptz = now() - interval '7 days',
        until timestamptz = now())
    RETURNS TABLE (order_key text, sent_value numeric, current_value numeric, what text,
                   sent_currency text, current_currency text, event_time timestamptz)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_drift';

-- A source that cannot be counted has a row with nothing but the reason.
CREATE FUNCTION capi._reconciliation()
    RETURNS TABLE (source text, bucket timestamptz, currency text, orders bigint, delivered bigint, waiting bigint,
                   ignored bigint, rejected bigint, expired bigint, missing bigint,
                   order_value numeric, delivered_value numeric, reason text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_reconciliation';

CREATE VIEW capi.reconciliation AS
    SELECT r.source, r.bucket, r.currency, r.orders, r.delivered, r.waiting, r.ignored, r.rejected,
           r.expired, r.missing, r.order_value, r.delivered_value, r.reason
      FROM capi._reconciliation() r;
