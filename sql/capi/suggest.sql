----------------------------------------------------------------------------
-- A query for tables of usual shape.
----------------------------------------------------------------------------

-- First of the usual names that the table has, quoted; null when it has none.
CREATE FUNCTION capi._pick(tab regclass, names text[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT quote_ident(a.attname)
      FROM unnest(names) WITH ORDINALITY AS u (name, n)
      JOIN pg_attribute a ON a.attrelid = tab AND lower(a.attname) = u.name
                         AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY u.n LIMIT 1
$$;

CREATE FUNCTION capi._usual_query(tab regclass, keys text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines text[];
    time_column text := capi._pick(tab, ARRAY['paid_at', 'placed_at', 'completed_at', 'ordered_at',
                                              'created_at', 'date_placed', 'created']);
BEGIN
    IF time_column IS NULL THEN
        RAISE EXCEPTION 'no column of table "%" looks like the time of the order', tab
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the query yourself, with a column event_time.';
    END IF;
    SELECT array_agg('o.' || u.col || CASE WHEN u.col = u.field THEN '' ELSE ' AS ' || u.field END
                     ORDER BY u.n)
      INTO lines
      FROM (SELECT f.n, f.field, capi._pick(tab, f.names) AS col
              FROM (VALUES (1, 'em', ARRAY['email', 'customer_email', 'user_email', 'em']),
                           (2, 'ph', ARRAY['phone', 'phone_number', 'customer_phone', 'mobile', 'ph']),
                           (3, 'fn', ARRAY['first_name', 'firstname', 'fn']),
                           (4, 'ln', ARRAY['last_name', 'lastname', 'surname', 'ln']),
                           (5, 'ct', ARRAY['city', 'town', 'ct']),
                           (6, 'st', ARRAY['state_code', 'province', 'region', 'st']),
                           (7, 'zp', ARRAY['zip', 'zipcode', 'zip_code', 'postal_code', 'postcode', 'zp']),
                           (8, 'country', ARRAY['country', 'country_code']),
                           (9, 'external_id', ARRAY['customer_id', 'user_id', 'external_id']),
                           (10, 'client_ip_address', ARRAY['client_ip_address', 'ip_address', 'ip']),
                           (11, 'client_user_agent', ARRAY['client_user_agent', 'user_agent']),
                           (12, 'fbc', ARRAY['fbc']),
                           (13, 'fbp', ARRAY['fbp']),
                           (14, 'value', ARRAY['total', 'grand_total', 'total_amount', 'amount', 'total_price', 'value']),
                           (15, 'currency', ARRAY['currency', 'currency_code'])
                   ) AS f (n, field, names)) AS u
     WHERE u.col IS NOT NULL;
    RETURN 'SELECT '
        || CASE WHEN cardinality(keys) = 1 THEN 'o.' || quote_ident(keys[1])
                ELSE 'ROW(' || (SELECT string_agg('o.' || quote_ident(k), ', ' ORDER BY n)
                                  FROM unnest(keys) WITH ORDINALITY AS u (k, n)) || ')' END
        || ' AS key,' || E'\n       o.' || time_column || ' AS event_time'
        || coalesce((SELECT string_agg(E',\n       ' || l, '' ORDER BY n)
                       FROM unnest(lines) WITH ORDINALITY AS u (l, n)), '')
        || E'\n  FROM ' || tab::text || ' AS o';
END $$;

CREATE FUNCTION capi._suggest_query(caller oid, table_name regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._usual_query(table_name, capi._key_columns(table_name, NULL))
$$;
