----------------------------------------------------------------------------
-- Browser context: what the shop's web tier knows of an order.
----------------------------------------------------------------------------

-- Which of the given values are kept, normalised.  What comes from a browser
-- may be anything, and must not fail a checkout: the unusable is left out.
CREATE FUNCTION capi._context_fields(context jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known text[] := ARRAY['client_ip_address', 'client_user_agent', 'consent', 'event_source_url',
                          'fbc', 'fbclid', 'fbp', 'referrer_url'];
    item record;
    kept jsonb := '{}';
    field text;
    normal text;
BEGIN
    IF context IS NULL OR jsonb_typeof(context) <> 'object' THEN
        RAISE EXCEPTION 'context must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Its members are: ' || array_to_string(known, ', ') || '.';
    END IF;
    FOR item IN SELECT e.key, e.value, jsonb_typeof(e.value) AS kind FROM jsonb_each(context) e LOOP
        IF item.key <> ALL (known) THEN
            RAISE EXCEPTION 'unknown member "%" of context', left(item.key, 60)
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'Known members: ' || array_to_string(known, ', ') || '.',
                      HINT = 'What the order''s own tables hold belongs into the query of the source.';
        END IF;
        IF item.kind NOT IN ('null', CASE item.key WHEN 'consent' THEN 'boolean' ELSE 'string' END) THEN
            RAISE EXCEPTION 'member "%" of context must be a %', item.key,
                            CASE item.key WHEN 'consent' THEN 'boolean' ELSE 'string' END
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        CONTINUE WHEN item.kind <> 'string' OR length(item.value #>> '{}') > 4096;
        field := item.key;
        normal := item.value #>> '{}';
        IF field = 'fbclid' THEN
            -- SPEC 3.2: 1 when made on a server; the time the click was first seen, in ms
            CONTINUE WHEN context->>'fbc' IS NOT NULL;
            field := 'fbc';
            normal := format('fb.1.%s.%s', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, normal);
        END IF;
        normal := capi.normalize(field, normal);
        IF normal IS NOT NULL THEN
            kept := kept || jsonb_build_object(field, normal);
        END IF;
    END LOOP;
    RETURN kept;
END $$;

CREATE FUNCTION capi._set_context(caller oid, order_key text, context jsonb, source text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept jsonb := capi._context_fields(context);
    wanted int := CASE WHEN source IS NULL THEN 0 ELSE (capi._source(source)).id END;
BEGIN
    IF order_key IS NULL OR order_key = '' OR length(order_key) > 1000 THEN
        RAISE EXCEPTION 'order_key must have 1 to 1000 characters'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is the text of the value that the source''s query returns as key.';
    END IF;
    -- a later call adds to an earlier one
    INSERT INTO capi.context AS c (key, source_id, set_at, consent, fields)
    VALUES (order_key, wanted, now(), (context->>'consent')::boolean, kept)
    ON CONFLICT (key, source_id) DO UPDATE
        SET fields = c.fields || excluded.fields, set_at = excluded.set_at,
            consent = coalesce(excluded.consent, c.consent);
END $$;
CREATE FUNCTION capi.set_context(order_key text, context jsonb, source text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.pixel_event(source text, order_key text) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_pixel_event';
