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
      FROM capi._reconciliation() r ORDER BY r.source, r.bucket, r.currency;

-- Is everything all right?  In psql it is at most 120 columns wide; a sentence
-- that would be longer is cut, look_at has all of it.
CREATE VIEW capi.status AS
    WITH sending AS (
        SELECT pg_catalog.count(*) AS checks, pg_catalog.count(*) FILTER (WHERE NOT d.ok) AS failing,
               -- what stops orders before what is said of those that go
               (pg_catalog.array_agg(pg_catalog.format('%s: %s', d."check", d.detail)
                                     ORDER BY d."check" IN ('advice', 'contexts', 'customers', 'history', 'token expiry', 'api versions'), d."check" = 'outcomes', d.place)
                  FILTER (WHERE NOT d.ok))[1] AS first
          FROM capi.diagnose() WITH ORDINALITY AS d ("check", ok, detail, hint, place)
    ), sources AS (
        SELECT pg_catalog.count(*) AS sources, pg_catalog.count(*) FILTER (WHERE s.state <> 'active') AS idle,
               pg_catalog.sum(s.missed_captures) AS missed,
               pg_catalog.min(pg_catalog.format('%s is %s: %s', s.source, s.state, s.reason)) FILTER (WHERE s.state <> 'active') AS first
          FROM capi.source_status s
    ), waiting AS (
        SELECT coalesce(pg_catalog.sum(h.queued + h.retrying), 0) AS events, pg_catalog.min(h.oldest_waiting) AS oldest,
               pg_catalog.min(h.expires_in) AS expires_in
          FROM capi.health h
    ), ended AS (
        SELECT pg_catalog.count(*) FILTER (WHERE d.status = 'delivered') AS delivered, pg_catalog.count(*) FILTER (WHERE d.status = 'ignored') AS ignored,
               pg_catalog.count(*) FILTER (WHERE d.status = 'rejected') AS rejected, pg_catalog.count(*) FILTER (WHERE d.status = 'expired') AS expired
          FROM capi.delivery_status d WHERE d.finished_at > pg_catalog.now() - interval '1 day'
    ), counted AS (
        SELECT r.source, pg_catalog.sum(r.orders) AS orders, pg_catalog.sum(r.missing) AS missing, pg_catalog.min(r.reason) AS reason
          FROM capi.reconciliation r GROUP BY r.source
    ), orders AS (
        SELECT coalesce(pg_catalog.sum(c.orders), 0) AS orders, coalesce(pg_catalog.sum(c.missing), 0) AS missing,
               pg_catalog.min(pg_catalog.format('%s: %s', c.source, c.reason)) FILTER (WHERE c.reason IS NOT NULL) AS uncounted
          FROM counted c
    ), missed AS (
        -- what was missed is no trouble any more when each order has an answer
        SELECT pg_catalog.sum(s.missed_captures) AS missed, pg_catalog.min(s.source) AS first
          FROM capi.source_status s JOIN counted c ON c.source = s.source
         WHERE s.missed_captures > 0 AND (c.missing > 0 OR c.reason IS NOT NULL)
    ), line AS (
        SELECT 1 AS place, 'sending' AS "check", CASE WHEN a.failing = 0 THEN 'ok' ELSE 'attention' END AS state,
               CASE WHEN a.failing = 0 THEN pg_catalog.format('All %s checks are well.', a.checks)
                    WHEN a.failing = 1 THEN a.first
                    ELSE pg_catalog.format('%s checks fail. %s', a.failing, a.first) END AS sentence, 'capi.diagnose()' AS look_at
          FROM sending a
        UNION ALL
        SELECT 2, 'sources', CASE WHEN s.idle > 0 OR s.sources = 0 THEN 'attention'
                                  WHEN s.missed > 0 AND (SELECT m.missed > 0 FROM missed m) THEN 'attention'
                                  ELSE 'ok' END,
               CASE WHEN s.sources = 0 THEN 'No source is attached.'
                    WHEN s.idle > 0 THEN s.first
                    WHEN s.missed > 0 AND (SELECT m.missed > 0 FROM missed m)
                    THEN (SELECT pg_catalog.format('Rows that could not be captured: %s, of %s.', m.missed, m.first) FROM missed m)
                    WHEN s.missed > 0 THEN pg_catalog.format('%s of %s sources work; of the rows once missed no order is missing.', s.sources, s.sources)
                    ELSE pg_catalog.format('%s of %s sources work, and no row was missed.', s.sources, s.sources) END, 'capi.source_status'
          FROM sources s
        UNION ALL
        SELECT 3, 'waiting', CASE WHEN w.expires_in < interval '1 day' THEN 'attention' ELSE 'ok' END,
               CASE WHEN w.events = 0 THEN 'Nothing waits.'
                    WHEN w.expires_in < interval '0' THEN pg_catalog.format('Waiting: %s, and the first is too old for Meta.', w.events)
                    WHEN w.expires_in < interval '1 day' THEN pg_catalog.format('Waiting: %s, and in %s the first is too old for Meta.', w.events,
                                                                   pg_catalog.date_trunc('minute', w.expires_in))
                    ELSE pg_catalog.format('Waiting: %s, the oldest since %s.', w.events, pg_catalog.date_trunc('second', w.oldest)) END, 'capi.health'
          FROM waiting w
        UNION ALL
        SELECT 4, 'outcomes', CASE WHEN e.rejected + e.expired > 0 THEN 'attention' ELSE 'ok' END,
               pg_catalog.format('In a day: %s delivered, %s ignored, %s rejected, %s expired.', e.delivered, e.ignored, e.rejected, e.expired), 'capi.delivery_status'
          FROM ended e
        UNION ALL
        SELECT 5, 'orders', CASE WHEN o.missing > 0 THEN 'attention' WHEN o.uncounted IS NOT NULL THEN 'unknown' ELSE 'ok' END,
               CASE WHEN o.missing > 0 THEN pg_catalog.format('Orders of the last 7 days: %s, of which %s never captured.', o.orders, o.missing)
                    WHEN o.uncounted IS NOT NULL THEN pg_catalog.format('Not all can be counted. %s', o.uncounted)
                    WHEN o.orders = 0 THEN 'There are no orders in the last 7 days.'
                    ELSE pg_catalog.format('Orders of the last 7 days: %s, and each has an answer.', o.orders) END, 'capi.reconciliation'
          FROM orders o
    )
    SELECT l."check", l.state,
           CASE WHEN pg_catalog.length(l.sentence) > 72 THEN pg_catalog.left(l.sentence, 69) || '...' ELSE l.sentence END AS sentence,
           l.look_at
      FROM line l ORDER BY l.place;
