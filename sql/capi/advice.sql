----------------------------------------------------------------------------
-- Advice: what is no error, and probably a mistake.  capi.attach() gives it as
-- notices, capi.diagnose() as long as it lasts.
----------------------------------------------------------------------------

-- Condition on a row t of the source's table: the rule fits it.
CREATE FUNCTION capi._rule_condition(src capi.source) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN src.on_column IS NULL THEN 'true'
                WHEN src.on_values IS NULL THEN format('t.%I IS NOT NULL', src.on_column)
                ELSE format('t.%I = ANY (%L::%s[])', src.on_column, src.on_values,
                            format_type(src.on_type::oid, -1)) END
$$;

-- A look with the rights and the search_path of the source's query; null when it
-- would cost too much, or cannot be taken.
CREATE FUNCTION capi._look_at(src capi.source, statement text, max_rows int) RETURNS text[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN capi._look(statement, src.search_path, src.run_as::oid, max_rows);
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

CREATE FUNCTION capi._standard_events() RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '{AddPaymentInfo,AddToCart,AddToWishlist,CompleteRegistration,Contact,CustomizeProduct,Donate,FindLocation,InitiateCheckout,Lead,PageView,Purchase,Schedule,Search,StartTrial,SubmitApplication,Subscribe,ViewContent}'::text[]
$$;

CREATE FUNCTION capi._advise_event_name(src capi.source)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('event_name "%s" of source "%s" is not one of Meta''s standard names', src.event_name, src.name),
           'Case and spelling count: Meta takes it for an event of your own.',
           format('Perhaps you meant "%s".', e.name)
      FROM unnest(capi._standard_events()) AS e (name)
     WHERE src.event_name <> ALL (capi._standard_events())
       AND (lower(e.name) = regexp_replace(lower(src.event_name), '[^a-z]', '', 'g')
            -- one letter left out, or too many, in a long word
            OR length(src.event_name) > 6
               AND EXISTS (SELECT FROM generate_series(1, greatest(length(e.name), length(src.event_name))) AS i
                            WHERE overlay(e.name PLACING '' FROM i FOR 1) = src.event_name
                               OR overlay(src.event_name PLACING '' FROM i FOR 1) = e.name))
$$;

-- Values of the watched column in the rows at the beginning of the table, and
-- those that the server's statistics hold.
CREATE FUNCTION capi._values_seen(src capi.source) RETURNS text[]
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(DISTINCT v ORDER BY v)
      FROM pg_class c
     CROSS JOIN LATERAL unnest(
           capi._look_at(src, format('SELECT DISTINCT s.v::pg_catalog.text FROM (SELECT t.%I AS v FROM %s AS t LIMIT 10000) AS s',
                                     src.on_column, src.table_name::regclass), 1000)
        || capi._look_at(src, format('SELECT pg_catalog.unnest(s.most_common_vals::pg_catalog.text::%s[])::pg_catalog.text FROM pg_catalog.pg_stats AS s '
                                     'WHERE s.schemaname = %L AND s.tablename = %L AND s.attname = %L',
                                     format_type(src.on_type::oid, -1), c.relnamespace::regnamespace::text, c.relname, src.on_column), 1000)) AS u (v)
     WHERE c.oid = src.table_name
$$;

-- Values that no row has: exactly, where an index or a small table allows it,
-- else as far as was looked.  Nothing is said of a table without rows.
CREATE FUNCTION capi._advise_values(src capi.source, all_missing boolean)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted text;
    found_rows text[];
    missing text[] := '{}';
    exact boolean := true;
    seen text[];
BEGIN
    -- a column that is gone is the check "sources"
    IF src.on_values IS NULL
       OR NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = src.table_name::oid AND a.attname = src.on_column AND NOT a.attisdropped)
       OR coalesce(capi._look_at(src, format('SELECT ''x'' FROM %s AS t LIMIT 1', src.table_name::regclass), 1), '{}') = '{}' THEN
        RETURN;
    END IF;
    seen := coalesce(capi._values_seen(src), '{}');
    FOREACH wanted IN ARRAY src.on_values LOOP
        CONTINUE WHEN wanted = ANY (seen);
        found_rows := capi._look_at(src, format('SELECT ''x'' FROM %s AS t WHERE t.%I = %L::%s', src.table_name::regclass,
                                                src.on_column, wanted, format_type(src.on_type::oid, -1)), 1);
        exact := exact AND found_rows IS NOT NULL;
        IF found_rows IS NULL OR found_rows = '{}' THEN
            missing := missing || wanted;
        END IF;
    END LOOP;
    IF missing = '{}' OR ((all_missing OR NOT exact) AND cardinality(missing) < cardinality(src.on_values)) THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT
        format('%s of table "%s" has "%s" in column "%s", which source "%s" waits for', CASE WHEN exact THEN 'no row' ELSE 'no row that was looked at' END,
               src.table_name::regclass, array_to_string(missing, '", "'), src.on_column, src.name),
        CASE WHEN cardinality(seen) = 0 THEN 'The column is null in the rows looked at.'
             WHEN cardinality(seen) <= 10 THEN format('It has: %s.', (SELECT string_agg(left(v, 40), ', ' ORDER BY v) FROM unnest(seen) AS v))
             ELSE 'It has more than 10 others.' END,
        CASE WHEN all_missing THEN 'Values are compared exactly, with case and spaces; capi.alter_source() tells what is there.'
             ELSE coalesce((SELECT format('Perhaps you meant "%s".', v) FROM unnest(seen) AS v
                             WHERE lower(btrim(v)) = lower(btrim(missing[1])) LIMIT 1),
                           capi._hint(missing[1], seen, 'Values are compared exactly, with case and spaces.')) END;
END $$;

-- Does a condition hold for an order at one time and not at another?  "Not later
-- than now" holds for each that there is.
CREATE FUNCTION capi._compares_with_now(query text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT bool_or(query ~* ('\mWHERE\M(?:(?!\mCASE\M).)*' || replace(c.pattern, 'NOW',
                             '(?:(?:now|clock_timestamp)\s*\(\s*\)|\m(?:current_date|current_timestamp|localtimestamp)\M)')))
      FROM unnest(ARRAY['(?:>=?|\mBETWEEN)\s*\(?\s*NOW',
                        '<=?\s*\(?\s*NOW\s*-',
                        '<\s*\(?\s*current_date\M',
                        'NOW\s*-[^<>=]{1,60}[<>]',
                        'NOW\s*<']) AS c (pattern)
$$;

CREATE FUNCTION capi._advise_query(src capi.source)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns text[];
    missing text[];
    limited text := capi._query_limit(src.query);
BEGIN
    IF limited = 'LIMIT' THEN
        RETURN QUERY SELECT
            format('the query of source "%s" has a LIMIT', src.name),
            'It is asked for single orders, and its LIMIT is applied before: an order beyond it is ignored, not returned by the query.',
            'Leave LIMIT and OFFSET out; capi reads only the orders it needs.';
    ELSIF limited IS NOT NULL THEN
        RETURN QUERY SELECT
            format('the query of source "%s" has a %s, which leaves orders out', src.name, limited),
            'It is asked for single orders, and this is applied before: the orders it leaves out are ignored, not returned by the query.',
            CASE limited WHEN 'DISTINCT ON' THEN 'Leave it out, or name the key in it.' ELSE 'Leave it out; capi reads only the orders it needs.' END;
    END IF;
    IF capi._compares_with_now(src.query) THEN
        RETURN QUERY SELECT
            format('the query of source "%s" compares with the present time', src.name),
            'Orders are read when they are sent, at once or, after an outage, days later: one for which it does not hold then is ignored, not returned by the query.',
            'Leave the comparison out; capi reads only the orders it needs, sends none that is too old, and waits with them as long as hold says.';
    END IF;
    columns := capi._query_columns(src.query, src.search_path, src.run_as::oid);
    missing := ARRAY(SELECT m FROM unnest('{event_source_url,client_user_agent}'::text[]) AS m WHERE m <> ALL (columns));
    IF src.action_source = 'website' AND missing <> '{}' AND 'action_source' <> ALL (columns)
       AND NOT EXISTS (SELECT FROM capi.context c WHERE c.source_id IN (0, src.id))
       AND pg_stat_get_tuples_inserted('capi.context'::regclass) = 0 THEN
        RETURN QUERY SELECT
            format('the query of source "%s" gives no %s, which Meta wants of events of a website', src.name, array_to_string(missing, ' and no ')),
            'No browser context has been told of any order, either.',
            'Return it from the query, tell it with capi.set_context() at the checkout, or name another action_source.';
    END IF;
EXCEPTION WHEN OTHERS THEN
    -- a query that does not run is the check "sources"
    RETURN;
END $$;

-- POSIX counts to the west: UTC+2 is two hours behind.  And an abbreviation is one
-- offset, where the clocks of those who use it change twice a year.
CREATE FUNCTION capi._advise_zone(src capi.source)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p.is_posix THEN format('time zone "%s" of source "%s" is %s UTC', z.name, src.name, CASE substring(z.name, '[+-]') WHEN '+' THEN 'behind' ELSE 'ahead of' END)
                ELSE format('time zone "%s" of source "%s" knows no change of summer time', z.name, src.name) END,
           CASE WHEN p.is_posix THEN 'In such names + is to the west of Greenwich, by the rules of POSIX.'
                ELSE 'It is an abbreviation: the same offset from UTC in the whole year.' END,
           'Take the name of a place, for example Europe/Berlin.'
      FROM (SELECT src.time_zone
            UNION
            SELECT m.zone[1] FROM regexp_matches(src.query, 'AT\s+TIME\s+ZONE\s+''([^'']+)''', 'gi') AS m (zone)) AS z (name)
     CROSS JOIN LATERAL (SELECT z.name ~ '^[A-Za-z/]*[+-][0-9:]+$' AND z.name !~ '[+-][0:]+$' AS is_posix) p
     WHERE p.is_posix OR z.name ~* '^(WES?T|MES?T|MEZ|MESZ|CES?T|EES?T|BST|[AECMP][SD]T|AK[SD]T|A[CE][SD]T|N[SD]T|NZ[SD]T)$'
$$;

-- An amount whose name says that it is in cents, given as it is, divided twice, or
-- divided without its cents.  Only the beginning of a long query is looked at: who
-- asks for advice waits for the searches, in the queries of all sources.
CREATE FUNCTION capi._advise_cents(src capi.source)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('the query of source "%s" gives "%s" as value, whose name says cents', src.name, m.col[1]),
           'Without minor_units 1250 is reported as 1250.00, and not as 12.50.',
           'Say minor_units => ''2'', or ''currency'' where currencies differ, or divide in the query.'
      FROM regexp_match(left(src.query, 20000), '\m(\w*(?:cents|minor)\w*)\M(?!"?\.)(?:(?!\mAS\M)[^/*]){0,40}?\s+AS\s+"?value\M', 'i') AS m (col)
     WHERE m.col IS NOT NULL AND src.minor_units IS NULL
    UNION ALL
    SELECT format('the query of source "%s" divides "%s" as a whole number', src.name, m.col[1]),
           'The server drops what is left over: 1250 / 100 is 12.',
           'Write / 100.0, or leave the division out and say minor_units => ''2''.'
      FROM regexp_match(left(src.query, 20000), '\m(\w*(?:cents|minor)\w*)"?\s*/\s*100\M(?!\.|::)', 'i') AS m (col)
     WHERE EXISTS (SELECT FROM pg_attribute a
                    WHERE lower(a.attname) = lower(m.col[1]) AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype))
    UNION ALL
    SELECT format('the query of source "%s" divides "%s", and minor_units does, too', src.name, m.col[1]),
           '1250 is reported as 0.125, and not as 12.50.',
           'Leave one of them out.'
      FROM regexp_match(left(src.query, 20000), '\m(\w*(?:cents|minor)\w*)"?(?:::\w+)?\s*/\s*100(?:\.0*)?\M(?:(?!\mAS\M)[^,]){0,40}?\s+AS\s+"?value\M', 'i') AS m (col)
     WHERE m.col IS NOT NULL AND src.minor_units IS NOT NULL
$$;

CREATE FUNCTION capi._advise_test(src capi.source)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('dataset "%s" of source "%s" has a test_event_code', d.name, src.name),
           'Its events show under Test Events of Events Manager, and Meta counts them all the same.',
           format('When tests are over: SELECT capi.alter_dataset(%L, test_event_code => '''');', d.name)
      FROM capi.dataset d WHERE d.id = src.dataset_id AND d.test_event_code IS NOT NULL
$$;

CREATE FUNCTION capi._advice(src capi.source, all_missing boolean)
    RETURNS TABLE (message text, detail text, hint text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM capi._advise_event_name(src)
    UNION ALL SELECT * FROM capi._advise_values(src, all_missing)
    UNION ALL SELECT * FROM capi._advise_query(src)
    UNION ALL SELECT * FROM capi._advise_zone(src)
    UNION ALL SELECT * FROM capi._advise_cents(src)
    UNION ALL SELECT * FROM capi._advise_test(src)
$$;

-- With the rights of the source's role, as all that its query names (P9).
CREATE FUNCTION capi._give_advice(caller oid, src capi.source) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    advice record;
BEGIN
    -- of a source that is being attached
    IF src.run_as IS NULL THEN
        src.run_as := capi._run_as(caller, src.table_name);
    END IF;
    -- notices tell what is in the table
    IF NOT has_table_privilege(caller, src.table_name::oid, 'SELECT') THEN
        src.on_values := NULL;
    END IF;
    FOR advice IN SELECT * FROM capi._advice(src, false) LOOP
        RAISE NOTICE '%', advice.message USING DETAIL = advice.detail, HINT = advice.hint;
    END LOOP;
END $$;

-- Of all sources; without the details, which are for who may read the table.
CREATE FUNCTION capi._advice_check()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'advice', count(*) = 0,
           coalesce(string_agg(a.message, '; ' ORDER BY a.n) FILTER (WHERE a.n <= 5)
                    || CASE WHEN count(*) > 5 THEN format('; and %s more', count(*) - 5) ELSE '' END || '.',
                    'Nothing about the sources looks like a mistake.'),
           -- in the same order, each once
           string_agg(a.hint, ' ' ORDER BY a.n) FILTER (WHERE a.nth = 1)
      FROM (SELECT a.message, a.hint, row_number() OVER (ORDER BY s.name, a.message) AS n,
                   row_number() OVER (PARTITION BY a.hint ORDER BY s.name, a.message) AS nth
              FROM capi.source s
             CROSS JOIN LATERAL capi._advice(s, true) a
             WHERE s.detached_at IS NULL AND s.name NOT LIKE 'send:%'
               AND EXISTS (SELECT FROM pg_class c WHERE c.oid = s.table_name)) a
$$;

-- Rule and query: of these orders, which does the rule fit now, and which are
-- known?  Looks as that role; no rows when it could not.
CREATE FUNCTION capi._rule_fits(source int, role oid, keys text[])
    RETURNS TABLE (key text, fits boolean, known boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    src capi.source;
    fitting text[];
BEGIN
    SELECT s.* INTO src FROM capi.source s WHERE s.id = source AND cardinality(s.key_columns) = 1
       -- types of which a value has one text only
       AND s.key_types[1]::oid = ANY ('{int2,int4,int8,text,varchar,uuid}'::regtype[]::oid[]);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    src.run_as := role;
    fitting := capi._look_at(src, format('SELECT DISTINCT t.%1$I::pg_catalog.text FROM %2$s AS t WHERE %3$s AND t.%1$I = ANY (%4$L::%5$s[])',
                                         src.key_columns[1], src.table_name::regclass, capi._rule_condition(src), keys,
                                         format_type(src.key_types[1]::oid, NULL)), cardinality(keys));
    IF fitting IS NOT NULL THEN
        RETURN QUERY SELECT k, k = ANY (fitting), capi._knows_one(source, ARRAY[k]) FROM unnest(keys) AS k;
    END IF;
END $$;

-- Some orders that the rule fits.
CREATE FUNCTION capi._rule_sample(source int, role oid) RETURNS SETOF text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    src capi.source;
BEGIN
    SELECT s.* INTO src FROM capi.source s WHERE s.id = source AND cardinality(s.key_columns) = 1
       -- types of which a value has one text only
       AND s.key_types[1]::oid = ANY ('{int2,int4,int8,text,varchar,uuid}'::regtype[]::oid[]);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    src.run_as := role;
    RETURN QUERY SELECT unnest(capi._look_at(src, format('SELECT t.%1$I::pg_catalog.text FROM %2$s AS t WHERE %3$s AND t.%1$I IS NOT NULL ORDER BY t.%1$I DESC LIMIT 20',
                                                         src.key_columns[1], src.table_name::regclass, capi._rule_condition(src)), 20));
END $$;

-- What the server says of a right that lacks, without what a function may have said
-- in its words about a customer: only names of objects that there are (P7).
CREATE FUNCTION capi._denial(message text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT message
                       FROM regexp_match(message, '^permission denied for (?:(?:materialized )?view|(?:foreign )?table|sequence|schema|function|procedure|aggregate|type|foreign server) (\S+)$') AS m (part)
                      WHERE EXISTS (SELECT FROM pg_class c WHERE c.relname = m.part[1])
                         OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = m.part[1])
                         OR EXISTS (SELECT FROM pg_proc f WHERE f.proname = m.part[1])
                         OR EXISTS (SELECT FROM pg_type t WHERE t.typname = m.part[1])
                         OR EXISTS (SELECT FROM pg_foreign_server f WHERE f.srvname = m.part[1])),
                    'permission denied')
$$;

-- Has this transaction changed what a right may come from: what is denied, or who
-- is a member of whom?  Or one that began later: of that nothing is known yet, either.
CREATE FUNCTION capi._may_be_granted(denial text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH denied AS (SELECT substring(denial FROM '^permission denied for .* (\S+)$') AS name)
    SELECT EXISTS (SELECT FROM pg_auth_members m WHERE age(m.xmin) <= 0)
        OR EXISTS (SELECT FROM denied d, pg_class c WHERE (d.name IS NULL OR c.relname = d.name) AND age(c.xmin) <= 0)
        OR EXISTS (SELECT FROM denied d, pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                    WHERE (d.name IS NULL OR c.relname = d.name) AND age(a.xmin) <= 0)
        OR EXISTS (SELECT FROM denied d, pg_namespace n WHERE (d.name IS NULL OR n.nspname = d.name) AND age(n.xmin) <= 0)
        OR EXISTS (SELECT FROM denied d, pg_proc f WHERE (d.name IS NULL OR f.proname = d.name) AND age(f.xmin) <= 0)
        OR EXISTS (SELECT FROM denied d, pg_type t WHERE (d.name IS NULL OR t.typname = d.name) AND age(t.xmin) <= 0)
        OR EXISTS (SELECT FROM denied d, pg_foreign_server f WHERE (d.name IS NULL OR f.srvname = d.name) AND age(f.xmin) <= 0)
$$;

-- Has a reader read one order as the role that will read them all: rights that are
-- needed only when a function of the query runs are not looked at before.  What else
-- may go wrong is an order's, and no reason to refuse the source.
CREATE FUNCTION capi._try_query(query text, path text, role oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    denial text := substring(capi._try_in_reader(query, path, role) FROM 'SQLSTATE 42501: (.*)$');
BEGIN
    IF denial IS NOT NULL AND NOT capi._may_be_granted(denial) THEN
        RAISE EXCEPTION 'the role that the query runs as lacks a right'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('Role %s: %s.', role::regrole, denial),
                  HINT = 'Grant that role the right, or attach as a role that has it.';
    END IF;
END $$;
