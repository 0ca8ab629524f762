----------------------------------------------------------------------------
-- A report that people look at: one page of HTML that fetches nothing.
--
-- capi.report_html() collects, with the rights of the caller, one value of JSON.
-- capi._report_page() makes the page of it, and is all the rest; no more comes
-- into it.  Every text but ours goes through capi._html().  All is ASCII, so that
-- the page is the same in every encoding but for those texts.
----------------------------------------------------------------------------

-- How many of the newest orders have each match key in a usable form.
CREATE FUNCTION capi._match_coverage(source text, since timestamptz, until timestamptz, max_orders int)
    RETURNS TABLE (field text, orders bigint, given bigint, usable bigint, share numeric, problem text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_match_coverage';

-- A text of somebody's, inert in content and attributes, and with its direction kept to itself.
CREATE FUNCTION capi._html(words text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '<bdi>' || replace(replace(replace(replace(replace(regexp_replace(words, '[\x01-\x1f\x7f]', ' ', 'g'),
               '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;') || '</bdi>'
$$;

-- Thousands are set apart by a narrow space.
CREATE FUNCTION capi._report_number(n numeric, decimals int = 0) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN n IS NULL THEN '<span class="zero">&ndash;</span>'
                WHEN n IN ('NaN', 'Infinity', '-Infinity') THEN n::text
                ELSE CASE WHEN r < 0 THEN '&minus;' ELSE '' END
                     || regexp_replace(trunc(abs(r))::text, '(?<=[0-9])(?=([0-9]{3})+$)', '&#8239;', 'g')
                     || CASE WHEN decimals > 0 THEN substring(abs(r)::text FROM '\..*') ELSE '' END END
      FROM round(n, decimals) AS r
$$;

CREATE FUNCTION capi._report_money(n numeric, currency text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_number(n, CASE WHEN n IN ('NaN', 'Infinity', '-Infinity') THEN 0
               ELSE greatest(min_scale(n), CASE WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW',
                        'PYG', 'RWF', 'UGX', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0 ELSE 2 END) END)
$$;

-- A cell with a count; its heading goes with it on narrow screens.
CREATE FUNCTION capi._report_count(heading text, n bigint) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('<td class="num%s" data-head="%s">%s</td>', CASE n WHEN 0 THEN ' zero' ELSE '' END, heading, capi._report_number(n))
$$;

CREATE FUNCTION capi._report_time(at timestamptz) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN at IS NULL THEN '&ndash;' WHEN NOT isfinite(at) THEN 'ever'
                ELSE to_char(at, 'FMDD Mon YYYY HH24:MI') END
$$;

CREATE FUNCTION capi._report_length(t interval) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN s < 0.001 THEN 'under 1 ms' WHEN s < 1 THEN round(s * 1000) || ' ms'
                WHEN s < 120 THEN round(s, 1) || ' s' WHEN s < 7200 THEN round(s / 60, 1) || ' min'
                WHEN s < 172800 THEN round(s / 3600, 1) || ' h' ELSE round(s / 86400, 1) || ' d' END
      FROM (SELECT extract(epoch FROM t) AS s) x
$$;

-- A bar of so many hundredths, with a mark where it was before.
CREATE FUNCTION capi._report_bar(percent numeric, class text, mark numeric = NULL) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('<svg class="bar" width="100%%" height="12" aria-hidden="true"><rect class="track" width="100%%" height="12"/>'
                  '<rect class="fill-%s" width="%s%%" height="12"/>%s</svg>', class,
                  round(least(greatest(coalesce(percent, 0), 0), 100), 2),
                  CASE WHEN mark IS NOT NULL THEN format('<line class="mark" x1="%s%%" x2="%1$s%%" y1="0" y2="12"/>', round(mark, 2)) ELSE '' END)
$$;

CREATE FUNCTION capi._report_section(id text, title text, note text, body text, empty text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(E'<section id="%s">\n<h2>%s</h2>\n<p class="note">%s</p>\n%s\n</section>\n', id, title, note,
                  coalesce(body, format('<p class="empty">%s</p>', empty)))
$$;

CREATE FUNCTION capi._report_table(class text, heads text[], numbers int[], body text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(E'<table class="%s">\n<thead><tr>%s</tr></thead>\n<tbody>\n%s\n</tbody>\n</table>', class,
                  (SELECT string_agg(format('<th scope="col"%s>%s</th>', CASE WHEN h.n = ANY (numbers) THEN ' class="num"' ELSE '' END, h.head),
                                     '' ORDER BY h.n)
                     FROM unnest(heads) WITH ORDINALITY AS h (head, n)), body)
     WHERE body IS NOT NULL
$$;

-- Rows of capi.reconcile().
CREATE FUNCTION capi._report_ledger(rows jsonb)
    RETURNS TABLE (bucket timestamptz, currency text, orders bigint, delivered bigint, waiting bigint, ignored bigint,
                   rejected bigint, expired bigint, missing bigint, order_value numeric, delivered_value numeric)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM jsonb_to_recordset(rows)
        AS r (bucket timestamptz, currency text, orders bigint, delivered bigint, waiting bigint, ignored bigint,
              rejected bigint, expired bigint, missing bigint, order_value numeric, delivered_value numeric)
$$;

CREATE FUNCTION capi._report_bucket(at timestamptz, unit text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_char(at, CASE unit WHEN 'month' THEN 'Mon YYYY' WHEN 'year' THEN 'YYYY' ELSE 'FMDD Mon' END)
$$;

-- The scale's end: not below the largest, and round.
CREATE FUNCTION capi._report_scale(largest bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(m.n * 10 ^ floor(log(greatest(largest, 1)::numeric)))::bigint
      FROM unnest(ARRAY[1, 2, 4, 6, 8, 10]::numeric[]) AS m (n)
     WHERE m.n * 10 ^ floor(log(greatest(largest, 1)::numeric)) >= largest
$$;

-- Columns of orders, their classes one on the other.  Across, all is in
-- hundredths of the width, so that texts keep their size on any screen.
CREATE FUNCTION capi._report_chart(rows jsonb, since timestamptz, until timestamptz, unit text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH day AS (
        SELECT l.bucket, sum(l.orders)::bigint AS orders, sum(l.delivered)::bigint AS delivered, sum(l.waiting)::bigint AS waiting,
               sum(l.ignored)::bigint AS ignored, sum(l.rejected)::bigint AS rejected, sum(l.expired)::bigint AS expired,
               sum(l.missing)::bigint AS missing
          FROM capi._report_ledger(rows) l GROUP BY l.bucket
    ), slot AS (
        SELECT b.bucket, (row_number() OVER w - 1) * 100.0 / count(*) OVER () AS x, 100.0 / count(*) OVER () AS width,
               row_number() OVER w AS n, count(*) OVER () AS slots
          -- by the clock on the wall: midnight may be skipped on one day, and is there on the next
          FROM (SELECT generate_series(date_trunc(unit, (CASE unit WHEN 'day' THEN since ELSE min(d.bucket) END)::timestamp),
                                       (CASE unit WHEN 'day' THEN until - interval '1 microsecond' ELSE max(d.bucket) END)::timestamp,
                                       ('1 ' || unit)::interval)::timestamptz AS bucket FROM day d) b
        WINDOW w AS (ORDER BY b.bucket)
    ), scale AS (
        SELECT capi._report_scale(max(d.orders)) AS top FROM day d
    ), piece AS (
        SELECT s.*, d.orders, c.class, c.n AS count, sum(c.n) OVER (PARTITION BY s.bucket ORDER BY c.place) AS upto
          FROM slot s JOIN day d ON d.bucket = s.bucket
         CROSS JOIN LATERAL (VALUES (1, 'delivered', d.delivered), (2, 'waiting', d.waiting), (3, 'ignored', d.ignored),
                                    (4, 'rejected', d.rejected), (5, 'expired', d.expired), (6, 'missing', d.missing)) AS c (place, class, n)
    ), picture AS (
        SELECT s.n, format('<g><title>%s: %s</title>%s<text class="value" x="%s%%" y="%s">%s</text></g>', capi._report_bucket(s.bucket, unit),
                      string_agg(format('%s %s', p.count, p.class), ', ' ORDER BY p.upto) FILTER (WHERE p.count > 0),
                      string_agg(format('<rect class="fill-%s" x="%s%%" width="%s%%" y="%s" height="%s"/>', p.class,
                                        round(s.x + s.width * 0.2, 3), round(s.width * 0.6, 3),
                                        round(170 - 150.0 * p.upto / c.top, 2), round(150.0 * p.count / c.top, 2)), '') FILTER (WHERE p.count > 0),
                      round(s.x + s.width / 2, 3), round(165 - 150.0 * p.orders / c.top, 2),
                      CASE WHEN s.slots <= 10 THEN capi._report_number(p.orders) ELSE '' END) AS svg
          FROM slot s JOIN piece p ON p.bucket = s.bucket CROSS JOIN scale c
         GROUP BY s.n, s.bucket, s.x, s.width, s.slots, p.orders, c.top
    )
    SELECT format('<div class="chart"><svg class="axis" width="%s" height="196" aria-hidden="true">%s</svg>'
                  '<svg class="plot" width="100%%" height="196" role="img" aria-label="Orders, and how many of them were delivered">%s%s%s</svg></div>',
                  10 + 8 * length(c.top::text),
                  (SELECT string_agg(format('<text x="100%%" y="%s">%s</text>', 174 - 150 * g.n / 2, capi._report_number(c.top * g.n / 2)), '')
                     FROM generate_series(0, 2) g (n) WHERE c.top * g.n % 2 = 0),
                  (SELECT string_agg(format('<line class="grid" x1="0" x2="100%%" y1="%s" y2="%1$s"/>', 170 - 150 * g.n / 2), '')
                     FROM generate_series(0, 2) g (n)),
                  (SELECT string_agg(p.svg, '' ORDER BY p.n) FROM picture p),
                  -- below a narrow column at the edge a text has no room to both sides
                  (SELECT string_agg(format('<text class="tick%s%s" x="%s%%" y="188">%s</text>',
                                            CASE WHEN (s.n - 1) / (1 + (s.slots - 1) / 8) % 2 = 0 THEN '' ELSE ' between' END,
                                            CASE e.edge WHEN -1 THEN ' first' WHEN 1 THEN ' last' ELSE '' END,
                                            round(s.x + s.width * (1 + e.edge) / 2, 3), capi._report_bucket(s.bucket, unit)), '')
                     FROM slot s
                    CROSS JOIN LATERAL (SELECT CASE WHEN s.slots <= 8 THEN 0 WHEN s.n = 1 THEN -1 WHEN s.x + s.width > 95 THEN 1 ELSE 0 END AS edge) e
                    WHERE (s.n - 1) % (1 + (s.slots - 1) / 8) = 0))
      FROM scale c WHERE EXISTS (SELECT FROM day)
$$;

-- What a class is called, and how it is drawn, with the sum of it.
CREATE FUNCTION capi._report_classes(rows jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('<dl class="classes"><div class="all"><dt>Orders</dt><dd data-class="orders">%s</dd></div>%s</dl>', capi._report_number(sum(l.orders)),
                  (SELECT string_agg(format('<div><dt><svg class="key" width="12" height="12" aria-hidden="true"><rect class="fill-%s" width="12" height="12"/></svg>%s</dt>'
                                            '<dd data-class="%1$s">%3$s</dd></div>', c.class, initcap(c.class), capi._report_number(c.n)), '' ORDER BY c.place)
                     FROM (VALUES (1, 'delivered', sum(l.delivered)), (2, 'waiting', sum(l.waiting)), (3, 'ignored', sum(l.ignored)),
                                  (4, 'rejected', sum(l.rejected)), (5, 'expired', sum(l.expired)), (6, 'missing', sum(l.missing))) AS c (place, class, n)))
      FROM capi._report_ledger(rows) l HAVING count(*) > 0
$$;

CREATE FUNCTION capi._report_values(rows jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('values', ARRAY['Currency', 'Orders', 'Value of orders', 'Value delivered', 'Gap', 'Delivered', ''], '{2,3,4,5,6}',
               string_agg(format('<tr><td class="first">%s</td>%s<td class="num" data-head="Value of orders">%s</td><td class="num" data-head="Value delivered">%s</td>'
                                 '<td class="num" data-head="Gap">%s</td><td class="num" data-head="Delivered">%s</td><td class="wide">%s</td></tr>',
                                 coalesce(capi._html(v.currency), 'none'), capi._report_count('Orders', v.orders), capi._report_money(v.ordered, v.currency),
                                 capi._report_money(v.sent, v.currency), capi._report_money(coalesce(v.ordered, 0) - coalesce(v.sent, 0), v.currency),
                                 coalesce(round(v.percent, 1) || '%', '&ndash;'), capi._report_bar(v.percent, 'delivered')),
                          E'\n' ORDER BY v.orders DESC, v.currency))
      FROM (SELECT s.*, 100 * s.sent / nullif(s.ordered, 0) AS percent
              FROM (SELECT l.currency, sum(l.orders)::bigint AS orders, sum(l.order_value) AS ordered, sum(l.delivered_value) AS sent
                      FROM capi._report_ledger(rows) l GROUP BY l.currency) s) v
$$;

CREATE FUNCTION capi._report_days(rows jsonb, unit text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('ledger', ARRAY[initcap(unit), 'Currency', 'Orders', 'Delivered', 'Waiting', 'Ignored', 'Rejected', 'Expired', 'Missing',
                                              'Value of orders', 'Value delivered'], '{3,4,5,6,7,8,9,10,11}',
               string_agg(format('<tr><td class="first">%s</td><td class="second">%s</td>%s%s%s%s%s%s%s'
                                 '<td class="num" data-head="Value of orders">%s</td><td class="num" data-head="Value delivered">%s</td></tr>',
                                 CASE unit WHEN 'day' THEN to_char(l.bucket, 'Dy FMDD Mon') ELSE capi._report_bucket(l.bucket, unit) END,
                                 coalesce(capi._html(l.currency), '&ndash;'),
                                 capi._report_count('Orders', l.orders), capi._report_count('Delivered', l.delivered), capi._report_count('Waiting', l.waiting),
                                 capi._report_count('Ignored', l.ignored), capi._report_count('Rejected', l.rejected), capi._report_count('Expired', l.expired),
                                 capi._report_count('Missing', l.missing), capi._report_money(l.order_value, l.currency),
                                 capi._report_money(l.delivered_value, l.currency)),
                          E'\n' ORDER BY l.bucket, l.currency))
      FROM capi._report_ledger(rows) l
$$;

-- Share of orders with each match key, and a mark for the week before.
CREATE FUNCTION capi._report_keys(source jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('keys', ARRAY['Match key', 'Usable', 'Week before', 'Change', ''], '{2,3,4}',
               string_agg(format('<tr><td class="first">%s</td><td class="num" data-head="Usable">%s</td><td class="num" data-head="Week before">%s</td>'
                                 '<td class="num" data-head="Change">%s</td><td class="wide">%s</td></tr>', capi._html(k.field),
                                 coalesce(round(100 * k.share, 1) || '%', '&ndash;'), coalesce(round(100 * k.before, 1) || '%', '&ndash;'),
                                 coalesce(replace(to_char(round(100 * (k.share - k.before), 1), 'SFM990.0'), '-', '&minus;'), '&ndash;'),
                                 capi._report_bar(100 * k.share, 'delivered', 100 * k.before)),
                          E'\n' ORDER BY k.share DESC NULLS LAST, k.field))
      FROM jsonb_to_recordset(source -> 'keys') AS k (field text, share numeric, before numeric)
$$;

CREATE FUNCTION capi._report_source(source jsonb, since timestamptz, until timestamptz, unit text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(E'<section class="source">\n<h2>%s</h2>\n<p class="note">%s &rarr; dataset %s</p>\n%s\n</section>\n',
                  capi._html(source ->> 'source'), coalesce('table ' || capi._html(source ->> 'table_name'), 'events of capi.send()'), capi._html(source ->> 'dataset'),
                  CASE WHEN source ->> 'problem' IS NOT NULL
                       THEN format('<p class="trouble"><strong>Not counted.</strong> %s</p>', capi._html(source ->> 'problem'))
                       WHEN jsonb_array_length(source -> 'ledger') = 0 THEN '<p class="empty">No orders in this time.</p>'
                       ELSE concat_ws(E'\n', capi._report_classes(source -> 'ledger'), capi._report_chart(source -> 'ledger', since, until, unit),
                                      '<h3>Value by currency</h3>', capi._report_values(source -> 'ledger'),
                                      format('<h3>%s by %s</h3>', initcap(unit), unit), capi._report_days(source -> 'ledger', unit),
                                      '<h3>Match keys</h3>',
                                      CASE WHEN source ->> 'keys_problem' IS NOT NULL
                                           THEN format('<p class="empty">Not counted: %s</p>', capi._html(source ->> 'keys_problem'))
                                           WHEN source -> 'keys' IS NULL THEN '<p class="empty">Events of capi.send() are hashed when they are given: nothing is left to count.</p>'
                                           ELSE format('<p class="note">Share of orders whose value can be sent, of the newest %s in this time. %s</p>', capi._report_number((source ->> 'sample')::numeric),
                                                       CASE WHEN (source ->> 'sample_before')::bigint > 0
                                                            THEN format('The line in a bar is that of the newest %s of the week before.', capi._report_number((source ->> 'sample_before')::numeric))
                                                            ELSE 'The week before has none.' END)
                                                || coalesce(capi._report_keys(source), '') END) END)
$$;

CREATE FUNCTION capi._report_reasons(rows jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('reasons', ARRAY['Reason', 'Outcome', 'Source', 'Events', ''], '{4}',
               string_agg(format('<tr><td class="first">%s</td><td data-head="Outcome">%s</td><td data-head="Source">%s</td>%s<td class="wide">%s</td></tr>',
                                 coalesce(capi._html(r.reason), 'no reason given'), capi._html(r.status), capi._html(r.source),
                                 capi._report_count('Events', r.events), capi._report_bar(r.percent, r.status)),
                          E'\n' ORDER BY r.events DESC, r.status, r.reason, r.source))
      FROM (SELECT x.*, 100.0 * x.events / max(x.events) OVER () AS percent
              FROM jsonb_to_recordset(rows) AS x (source text, status text, reason text, events bigint)) r
$$;

CREATE FUNCTION capi._report_orders(rows jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('orders', ARRAY['Order', 'Class', 'Source', 'Time', 'Value', 'Reason'], '{5}',
               string_agg(format('<tr><td class="first key">%s</td><td data-head="Class">%s</td><td data-head="Source">%s</td><td data-head="Time">%s</td>'
                                 '<td class="num" data-head="Value">%s</td><td class="wide" data-head="Reason">%s</td></tr>',
                                 capi._html(o.order_key), capi._html(o.class), capi._html(o.source), capi._report_time(o.event_time),
                                 CASE WHEN o.value IS NULL THEN '&ndash;' ELSE capi._report_money(o.value, o.currency) || coalesce(' ' || capi._html(o.currency), '') END,
                                 coalesce(capi._html(o.reason), '&ndash;')), E'\n' ORDER BY o.event_time DESC NULLS LAST, o.order_key))
      FROM jsonb_to_recordset(rows) AS o (source text, order_key text, class text, event_time timestamptz, value numeric, currency text, reason text)
$$;

CREATE FUNCTION capi._report_delays(delay jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('<p class="figures">half within <strong>%s</strong> &middot; 95%% within <strong>%s</strong> &middot; longest <strong>%s</strong></p>',
                  capi._report_length((delay ->> 'median')::interval), capi._report_length((delay ->> 'p95')::interval),
                  capi._report_length((delay ->> 'longest')::interval))
           || capi._report_table('delays', ARRAY['Within', 'Events', 'Share', ''], '{2,3}',
                  (SELECT string_agg(format('<tr><td class="first">%s</td>%s<td class="num" data-head="Share">%s%%</td><td class="wide">%s</td></tr>',
                                            b.name, capi._report_count('Events', coalesce((delay -> 'counts' ->> b.n::text)::bigint, 0)),
                                            round(s.percent, 1), capi._report_bar(s.percent, 'delivered')), E'\n' ORDER BY b.n)
                     FROM unnest(ARRAY['1 second', '10 seconds', '1 minute', '10 minutes', '1 hour', '1 day', 'more than 1 day'])
                              WITH ORDINALITY AS o (name, place)
                    CROSS JOIN LATERAL (SELECT o.name, o.place::int - 1 AS n) b
                    CROSS JOIN LATERAL (SELECT 100.0 * coalesce((delay -> 'counts' ->> b.n::text)::bigint, 0) / (delay ->> 'events')::bigint AS percent) s))
     WHERE (delay ->> 'events')::bigint > 0
$$;

CREATE FUNCTION capi._report_datasets(rows jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('datasets', ARRAY['Dataset', 'State', 'Waiting', 'Oldest', 'Last delivered', 'Limit used', 'Token until'], '{3,6}',
               string_agg(format('<tr><td class="first">%s</td><td class="wide" data-head="State">%s</td>%s<td data-head="Oldest">%s</td>'
                                 '<td data-head="Last delivered">%s</td><td class="num" data-head="Limit used">%s</td><td data-head="Token until">%s</td></tr>',
                                 capi._html(d.dataset), concat_ws(': ', '<strong>' || capi._html(d.state) || '</strong>', capi._html(d.reason)),
                                 capi._report_count('Waiting', d.queued + d.retrying), capi._report_time(d.oldest_waiting),
                                 capi._report_time(d.last_delivered_at), coalesce(d.usage_percent || '%', '&ndash;'),
                                 coalesce(capi._report_time(d.token_expires_at), '&ndash;')), E'\n' ORDER BY d.dataset))
      FROM jsonb_to_recordset(rows) AS d (dataset text, state text, reason text, queued bigint, retrying bigint, oldest_waiting timestamptz,
                                          last_delivered_at timestamptz, usage_percent int, token_expires_at timestamptz)
$$;

-- Hours of which Meta has told its count are compared; the others are only named.
CREATE FUNCTION capi._report_meta(rows jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._report_table('meta', ARRAY['Event', 'Dataset', 'Delivered', 'Counted by Meta', 'Difference', 'Hours that agree', 'Others'], '{3,4,5,6}',
               string_agg(format('<tr><td class="first">%s</td><td data-head="Dataset">%s</td>%s<td class="num" data-head="Counted by Meta">%s</td>'
                                 '<td class="num" data-head="Difference">%s</td>%s<td class="wide" data-head="Others">%s</td></tr>',
                                 capi._html(m.event_name), capi._html(m.dataset), capi._report_count('Delivered', m.delivered),
                                 capi._report_number(m.counted), capi._report_number(m.counted - m.delivered), capi._report_count('Hours that agree', m.agrees),
                                 coalesce(nullif(concat_ws('; ', CASE WHEN m.fewer > 0 THEN format('fewer in %s', m.fewer) END,
                                                           CASE WHEN m.more > 0 THEN format('more in %s', m.more) END,
                                                           CASE WHEN m.open > 0 THEN format('%s still open', m.open) END,
                                                           CASE WHEN m.untold > 0 THEN format('%s not told: %s', m.untold, coalesce(capi._html(m.reason), 'no reason given')) END), ''), '&ndash;')),
                          E'\n' ORDER BY m.dataset, m.delivered DESC, m.event_name))
      FROM jsonb_to_recordset(rows) AS m (dataset text, event_name text, delivered bigint, counted bigint, agrees bigint, fewer bigint, more bigint,
                                          open bigint, untold bigint, reason text)
$$;

-- What the reader of the page should know first.
CREATE FUNCTION capi._report_attention(page jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH note AS (
        SELECT 1 AS place, format('<strong>%s</strong> %s%s', capi._html(p.check), capi._html(p.detail), coalesce(' <em>' || capi._html(p.hint) || '</em>', '')) AS words
          FROM jsonb_to_recordset(page -> 'problems') AS p ("check" text, detail text, hint text)
        UNION ALL
        SELECT 2, format('<strong>%s</strong> cannot be counted.', capi._html(s ->> 'source'))
          FROM jsonb_array_elements(page -> 'sources') s WHERE s ->> 'problem' IS NOT NULL
        UNION ALL
        SELECT 3, format('<strong>%s</strong> %s of %s orders %s missing: capi.backfill() queues those that are young enough.', capi._html(x.name),
                         capi._report_number(x.missing), capi._report_number(x.orders), CASE x.missing WHEN 1 THEN 'is' ELSE 'are' END)
          FROM (SELECT s ->> 'source' AS name, sum(l.missing)::bigint AS missing, sum(l.orders)::bigint AS orders
                  FROM jsonb_array_elements(page -> 'sources') s CROSS JOIN LATERAL capi._report_ledger(s -> 'ledger') l
                 GROUP BY 1) x WHERE x.missing > 0
    )
    SELECT CASE WHEN count(*) = 0 THEN '<p class="fine">Nothing needs attention.</p>'
                ELSE format('<div class="attention"><h2>Needs attention</h2><ul>%s</ul></div>', string_agg(format('<li>%s</li>', n.words), '' ORDER BY n.place, n.words)) END
      FROM note n
$$;

CREATE FUNCTION capi._report_style() RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #59636e; --rule: #d8dde3; --tint: #f4f6f8;
  --good: #1d6b52; --wait: #9a6a00; --bad: #ad3127; --calm: #7a8591; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e4e8ec; --soft: #9ba6b1; --rule: #2d343b; --tint: #1c2126;
  --good: #55b893; --wait: #dba746; --bad: #ec7d72; --calm: #84909c; } }
* { box-sizing: border-box; }
html { font-size: 16px; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: .95rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums lining-nums; overflow-wrap: anywhere; }
th, .num, td.second { overflow-wrap: normal; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.5rem 3rem; }
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 0 0 .35rem; }
h2 { font-size: 1.2rem; line-height: 1.3; font-weight: 650; margin: 0; }
h3 { font-size: .95rem; font-weight: 650; margin: 2rem 0 .5rem; }
section { margin-top: 3rem; padding-top: 1.25rem; border-top: 2px solid var(--ink); }
.note, .lead, footer { color: var(--soft); font-size: .9rem; margin: .15rem 0 1rem; max-width: 46rem; }
.lead { margin-bottom: 1.5rem; max-width: none; }
.empty, .fine { color: var(--soft); background: var(--tint); border-radius: 4px; padding: .7rem 1rem; margin: 1rem 0 0; }
.trouble, .attention { border: 1px solid var(--rule); border-left: 4px solid var(--bad); border-radius: 4px; padding: .8rem 1rem; margin: 1rem 0 0; }
.attention h2 { font-size: 1rem; } .attention ul { margin: .35rem 0 0; padding-left: 1.1rem; } .attention li { margin: .25rem 0; }
.attention em { font-style: normal; color: var(--soft); }
.figures { margin: 0 0 .75rem; }
.classes { display: grid; grid-template-columns: repeat(7, 1fr); gap: 1px; margin: 1.25rem 0 1.5rem; background: var(--rule);
  border: 1px solid var(--rule); border-radius: 6px; overflow: hidden; }
.classes div { background: var(--page); padding: .65rem .8rem; min-width: 0; }
.classes .all { background: var(--tint); }
.classes dt { font-size: .8rem; color: var(--soft); white-space: nowrap; } .classes dd { margin: .1rem 0 0; font-size: 1.3rem; font-weight: 600; line-height: 1.25; }
.key { margin-right: .4em; vertical-align: -1px; }
.chart { display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: .6rem; }
.chart svg { display: block; overflow: hidden; } .chart text { font-size: 11px; fill: var(--soft); text-anchor: middle; }
.chart .axis text, .chart .last { text-anchor: end; } .chart .first { text-anchor: start; } .chart .value { fill: var(--ink); }
.grid { stroke: var(--rule); } .track { fill: var(--tint); } .mark { stroke: var(--ink); stroke-width: 2; }
.fill-delivered { fill: var(--good); }
.fill-waiting { fill: url(#capi-waiting); } .fill-ignored { fill: url(#capi-ignored); } .fill-rejected { fill: url(#capi-rejected); }
.fill-expired { fill: url(#capi-expired); } .fill-missing { fill: url(#capi-missing); }
.fill-waiting, .fill-expired, .fill-ignored, .fill-rejected, .fill-missing, .fill-delivered { stroke-width: 1; }
.fill-waiting { stroke: var(--wait); } .fill-ignored, .fill-expired { stroke: var(--calm); } .fill-rejected, .fill-missing { stroke: var(--bad); }
.ground { fill: var(--page); } .p-wait { stroke: var(--wait); } .p-calm { stroke: var(--calm); } .p-bad { stroke: var(--bad); } .p-dot { fill: var(--calm); }
.patterns { position: absolute; width: 0; height: 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .8rem; vertical-align: bottom; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--ink); }
td { padding: .34rem .6rem .34rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
.num { text-align: right; white-space: nowrap; } .zero { color: var(--soft); opacity: .75; }
td.first { font-weight: 500; } .ledger td.first { white-space: nowrap; }
.bar { display: block; margin-top: .3rem; min-width: 6rem; border-radius: 2px; }
.values .wide, .reasons .wide, .keys .wide, .delays .wide { width: 34%; padding-left: 1rem; } .orders .wide { padding-left: .8rem; } .orders th:last-child { padding-left: .8rem; }
.datasets .wide { width: 40%; } .meta .wide { width: 34%; padding-left: .8rem; } .meta th:last-child { padding-left: .8rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); max-width: none; }
@media screen and (max-width: 48rem) {
  main { padding: 1.5rem 1rem 2rem; } h1 { font-size: 1.4rem; }
  .classes { grid-template-columns: repeat(3, 1fr); } .classes .all { grid-column: 1 / -1; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .3rem .75rem; padding: .7rem 0; border-bottom: 1px solid var(--rule); }
  td, td.num, td.wide { display: block; border: 0; padding: 0; text-align: left; white-space: normal; width: auto !important; padding-left: 0 !important; }
  td.first, td.wide { grid-column: 1 / -1; } .ledger td.first { grid-column: auto; } .ledger td.second { grid-column: 2 / -1; }
  .ledger td.zero, .chart .between { display: none; } td.first { font-weight: 650; }
  td[data-head]::before { content: attr(data-head); display: block; font-size: .75rem; color: var(--soft); }
}
@media print {
  @page { size: A4; margin: 14mm; }
  html { font-size: 10.5px; } body { -webkit-print-color-adjust: exact; print-color-adjust: exact; } main { max-width: none; padding: 0; }
  section { margin-top: 2.2rem; } h2, h3, .note { break-after: avoid; }
  tr, .chart, .classes, .attention { break-inside: avoid; } thead { display: table-header-group; }
  td { padding-top: .2rem; padding-bottom: .2rem; }
}
'
$$;

CREATE FUNCTION capi._report_page(page jsonb) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT format($html$<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Orders and what Meta was told</title>
<style>%s</style>
</head>
<body>
<svg class="patterns" aria-hidden="true"><defs>
<pattern id="capi-waiting" width="4" height="4" patternUnits="userSpaceOnUse"><rect class="ground" width="4" height="4"/><path class="p-wait" d="M0 2H4"/></pattern>
<pattern id="capi-ignored" width="4" height="4" patternUnits="userSpaceOnUse"><rect class="ground" width="4" height="4"/><circle class="p-dot" cx="2" cy="2" r=".9"/></pattern>
<pattern id="capi-rejected" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="ground" width="5" height="5"/><path class="p-bad" stroke-width="2.4" d="M2 0V5"/></pattern>
<pattern id="capi-expired" width="4" height="4" patternUnits="userSpaceOnUse"><rect class="ground" width="4" height="4"/><path class="p-calm" d="M2 0V4"/></pattern>
<pattern id="capi-missing" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="ground" width="6" height="6"/><path class="p-bad" d="M0 0L6 6M6 0L0 6"/></pattern>
</defs></svg>
<main>
<header>
<h1>Orders and what Meta was told</h1>
<p class="lead">%s &ndash; %s &middot; time zone %s &middot; database %s</p>
%s
</header>
%s%s%s%s%s%s<footer>Written by capi %s on %s for role %s. Every order is in one class, once; no sum mixes currencies. Each part was counted at its own moment.
Outcomes are kept for %s: an older order shows as missing.</footer>
</main>
</body>
</html>
$html$,
        capi._report_style(), capi._report_time(p.since), capi._report_time(p.until), capi._html(current_setting('TimeZone')), capi._html(current_database()),
        capi._report_attention(page),
        coalesce((SELECT string_agg(capi._report_source(s, p.since, p.until, p.unit), '' ORDER BY s ->> 'source') FROM jsonb_array_elements(page -> 'sources') s),
                 '<section class="source"><h2>Orders</h2><p class="empty">No source is attached: capi.attach() watches a table.</p></section>'),
        capi._report_section('reasons', 'Why not', 'Events that ended without delivery in this time, by reason.',
                             capi._report_reasons(page -> 'reasons'), 'Nothing was ignored, rejected or expired in this time.')
        || CASE WHEN p.more_reasons > 0 THEN format('<p class="note">%s more reasons are in capi.delivery_status.</p>', capi._report_number(p.more_reasons)) ELSE '' END,
        capi._report_section('orders', 'Orders to look at', 'The newest that are missing, rejected or expired: at most ten of each class and source.',
                             capi._report_orders(page -> 'orders'), 'None is missing, rejected or expired.'),
        capi._report_section('delays', 'How soon', 'From the order&#39;s capture to Meta&#39;s answer, of what was delivered in this time. A hold counts.',
                             capi._report_delays(page -> 'delay'), 'Nothing was delivered in this time.'),
        capi._report_section('datasets', 'Datasets', 'As they are now.', capi._report_datasets(page -> 'datasets'), 'There is no dataset: capi.create_dataset() makes one known.'),
        capi._report_section('meta', 'Meta&#39;s own count', 'Hours of this time and the last seven days, of events that Meta has counted or capi delivered. The pixel&#39;s events count with Meta, too.',
                             capi._report_meta(page -> 'meta'), 'Nothing was delivered, and Meta has told no count.'),
        capi._html(page ->> 'version'), capi._report_time(now()), capi._html(page ->> 'role'), capi._html(current_setting('capi.retention')))
      FROM jsonb_to_record(page) AS p (since timestamptz, until timestamptz, unit text, more_reasons bigint)
$$;

-- One source: its counts or why there are none, and the share of its match keys.
CREATE FUNCTION capi._report_collect(source text, since timestamptz, until timestamptz, unit text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found jsonb;
    newest tstzrange;
BEGIN
    found := jsonb_build_object('ledger', (SELECT coalesce(jsonb_agg(r), '[]') FROM capi.reconcile(source, since, until, ('1 ' || unit)::interval) r));
    IF source LIKE 'send:%' OR found -> 'ledger' = '[]' THEN
        RETURN found;
    END IF;
    -- ten are shown: only so many days are looked at once more
    SELECT CASE WHEN count(*) > 0
                THEN tstzrange(greatest(since, min(b.bucket)), least(until, max(b.bucket) + ('1 ' || unit)::interval)) END INTO newest
      FROM (SELECT l.bucket, sum(sum(l.missing)) OVER (ORDER BY l.bucket DESC) - sum(l.missing) AS later
              FROM capi._report_ledger(found -> 'ledger') l WHERE l.missing > 0 GROUP BY l.bucket) b
     WHERE b.later < 10;
    IF newest IS NOT NULL THEN
        found := found || jsonb_build_object('missing', (SELECT jsonb_agg(m) FROM (
                     SELECT * FROM capi.missing_orders(source, lower(newest), upper(newest)) o
                      ORDER BY o.event_time DESC NULLS LAST, o.order_key LIMIT 10) m));
    END IF;
    BEGIN
        RETURN found || (SELECT jsonb_build_object('sample', max(k.orders), 'sample_before', max(b.orders),
                                                   'keys', jsonb_agg(jsonb_build_object('field', k.field, 'share', k.share, 'before', b.share)))
                           FROM capi._match_coverage(source, since, until, 1000) k
                           LEFT JOIN capi._match_coverage(source, since - interval '7 days', since, 1000) b ON b.field = k.field);
    EXCEPTION
        WHEN serialization_failure THEN RAISE;
        WHEN OTHERS THEN RETURN found || jsonb_build_object('keys_problem', 'SQLSTATE ' || sqlstate);
    END;
EXCEPTION
    WHEN serialization_failure THEN RAISE;
    WHEN OTHERS THEN RETURN jsonb_build_object('ledger', '[]'::jsonb, 'problem', 'SQLSTATE ' || sqlstate);
END $$;

CREATE FUNCTION capi.report_html(since timestamptz = now() - interval '7 days', until timestamptz = now()) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unit text := CASE WHEN NOT isfinite(since) OR NOT isfinite(until) THEN 'year'
                      WHEN until - since <= interval '62 days' THEN 'day'
                      WHEN until - since <= interval '400 days' THEN 'week'
                      WHEN until - since <= interval '3000 days' THEN 'month' ELSE 'year' END;
    sources jsonb;
    page jsonb;
BEGIN
    IF since IS NULL OR until IS NULL THEN
        RAISE EXCEPTION 'since and until must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Write -infinity for the beginning of time.';
    END IF;
    IF since > until THEN
        RAISE EXCEPTION 'since is later than until'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Exchange the two.';
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_object('source', s.source, 'table_name', CASE WHEN s.source NOT LIKE 'send:%' THEN s.table_name::text END, 'dataset', s.dataset)
                              || capi._report_collect(s.source, since, until, unit)), '[]')
      INTO sources FROM capi.source_status s;
    page := jsonb_build_object('since', since, 'until', until, 'unit', unit, 'sources', sources, 'role', current_user,
        'version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'capi'),
        'problems', (SELECT coalesce(jsonb_agg(d), '[]') FROM capi.diagnose() d WHERE NOT d.ok),
        'datasets', (SELECT coalesce(jsonb_agg(h), '[]') FROM capi.health h));
    SELECT page || jsonb_build_object('meta', coalesce(jsonb_agg(m), '[]'))
      INTO page
      FROM (SELECT c.dataset, c.event_name, sum(c.delivered) FILTER (WHERE c.counted IS NOT NULL) AS delivered, sum(c.counted) AS counted,
                   count(*) FILTER (WHERE c.verdict = 'agrees') AS agrees, count(*) FILTER (WHERE c.verdict = 'fewer') AS fewer,
                   count(*) FILTER (WHERE c.verdict = 'more') AS more, count(*) FILTER (WHERE c.verdict = 'open') AS open,
                   count(*) FILTER (WHERE c.verdict = 'not told') AS untold, max(c.reason) AS reason
              FROM capi.meta_counts c WHERE c.hour >= report_html.since AND c.hour < report_html.until
             GROUP BY c.dataset, c.event_name) m;
    -- outcomes that were reached in this time
    SELECT page || jsonb_build_object('reasons', coalesce(jsonb_agg(r) FILTER (WHERE r.n <= 20), '[]'), 'more_reasons', count(*) FILTER (WHERE r.n > 20))
      INTO page
      FROM (SELECT d.source, d.status, d.reason, count(*) AS events, row_number() OVER (ORDER BY count(*) DESC, d.status, d.reason, d.source) AS n
              FROM capi.delivery_status d
             WHERE d.finished_at >= report_html.since AND d.finished_at < report_html.until AND d.status <> 'delivered'
             GROUP BY d.source, d.status, d.reason) r;
    -- sorted once, for a week may have a million
    SELECT page || jsonb_build_object('delay', jsonb_build_object('events', k.events, 'longest', k.longest, 'median', k.within[1], 'p95', k.within[2],
                       'counts', (SELECT jsonb_object_agg(n.place - 1, n.upto - n.before)
                                    FROM (SELECT u.place, u.upto, lag(u.upto, 1, 0::bigint) OVER (ORDER BY u.place) AS before
                                            FROM unnest(k.upto || k.events) WITH ORDINALITY AS u (upto, place)) n)))
      INTO page
      FROM (SELECT count(*) AS events, max(t.t) AS longest, percentile_disc('{0.5,0.95}'::float8[]) WITHIN GROUP (ORDER BY t.t) AS within,
                   ARRAY[count(*) FILTER (WHERE t.t < interval '1 second'), count(*) FILTER (WHERE t.t < interval '10 seconds'),
                         count(*) FILTER (WHERE t.t < interval '1 minute'), count(*) FILTER (WHERE t.t < interval '10 minutes'),
                         count(*) FILTER (WHERE t.t < interval '1 hour'), count(*) FILTER (WHERE t.t < interval '1 day')] AS upto
              FROM (SELECT d.finished_at - d.captured_at AS t FROM capi.delivery_status d
                     WHERE d.finished_at >= report_html.since AND d.finished_at < report_html.until AND d.status = 'delivered') t) k;
    SELECT page || jsonb_build_object('orders', coalesce(jsonb_agg(o), '[]'))
      INTO page
      FROM (SELECT s ->> 'source' AS source, m.order_key, 'missing' AS class, m.event_time, m.value, m.currency, NULL AS reason
              FROM jsonb_array_elements(sources) s
             CROSS JOIN LATERAL jsonb_to_recordset(s -> 'missing') AS m (order_key text, event_time timestamptz, value numeric, currency text)
            UNION ALL
            SELECT r.source, r.order_key, r.status, r.at, r.value, r.currency, r.reason
              FROM (SELECT d.*, coalesce(d.event_time, d.captured_at) AS at, row_number() OVER (PARTITION BY d.source, d.status ORDER BY d.finished_at DESC) AS n
                      FROM capi.delivery_status d
                     WHERE d.finished_at >= report_html.since AND d.finished_at < report_html.until AND d.status IN ('rejected', 'expired')) r
             WHERE r.n <= 10) o;
    RETURN capi._report_page(page);
END $$;
