----------------------------------------------------------------------------
-- Datasets: where events go.
----------------------------------------------------------------------------

CREATE FUNCTION capi._create_dataset(caller oid, name text, dataset_id text,
        access_token text, access_token_file text, app_secret text, endpoint text,
        api_version text, test_event_code text, events_per_hour int)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_id int;
BEGIN
    PERFORM capi._check_name('dataset', name);
    IF dataset_id IS NULL OR endpoint IS NULL OR events_per_hour IS NULL THEN
        RAISE EXCEPTION 'dataset_id, endpoint and events_per_hour must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Leave endpoint and events_per_hour out to have their defaults.';
    END IF;
    PERFORM capi._check_dataset_args(dataset_id, access_token, access_token_file,
                                     app_secret, api_version, test_event_code, events_per_hour);
    PERFORM capi._check_token_file(caller, access_token_file);
    endpoint := capi._check_endpoint(endpoint);
    -- no lock on the table: the dispatcher would wait for it (P6)
    new_id := nextval('capi.dataset_id_seq');
    INSERT INTO capi.dataset (id, name, dataset_id, endpoint, api_version,
                              test_event_code, events_per_hour, token_file, endpoint_by)
    VALUES (new_id, name, dataset_id, endpoint, api_version, test_event_code,
            events_per_hour, access_token_file, pg_get_userbyid(caller))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'dataset "%" already exists', name
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Change it with capi.alter_dataset().';
    END IF;
    PERFORM capi._store_secret(new_id, 'access_token', access_token);
    PERFORM capi._store_secret(new_id, 'app_secret', app_secret);
    PERFORM capi._init_state();
    PERFORM capi._config_changed();
END $$;

CREATE FUNCTION capi.create_dataset(name text, dataset_id text, access_token text = NULL,
        access_token_file text = NULL, app_secret text = NULL,
        endpoint text = 'https://graph.facebook.com', api_version text = NULL,
        test_event_code text = NULL, events_per_hour int = 200000)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._has_secret(dataset capi.dataset) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT dataset.token_file IS NOT NULL
        OR EXISTS (SELECT FROM capi.secret s WHERE s.dataset_id = dataset.id)
$$;

CREATE FUNCTION capi._alter_dataset(caller oid, name text, dataset_id text,
        access_token text, access_token_file text, app_secret text, endpoint text,
        api_version text, test_event_code text, events_per_hour int)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset_to_change(name);
    is_super boolean := (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = caller);
    token_given boolean := access_token IS NOT NULL OR coalesce(access_token_file, '') <> '';
    moves boolean;
BEGIN
    -- an empty text takes an optional setting away
    PERFORM capi._check_dataset_args(dataset_id, access_token,
                                     nullif(access_token_file, ''), app_secret,
                                     nullif(api_version, ''), nullif(test_event_code, ''),
                                     events_per_hour);
    PERFORM capi._check_token_file(caller, nullif(access_token_file, ''));
    endpoint := capi._check_endpoint(endpoint);
    moves := coalesce(endpoint <> old.endpoint, false);
    IF moves AND NOT token_given AND NOT is_super AND capi._has_secret(old) THEN
        RAISE EXCEPTION 'a new endpoint needs the access token again'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'The stored token is not sent to another host on the word of somebody who may not know it.',
                  HINT = 'Give access_token or access_token_file in the same call.';
    END IF;
    IF endpoint IS NULL AND (token_given OR app_secret IS NOT NULL) THEN
        PERFORM capi._check_giver(caller, old, NULL);
    END IF;
    -- a superuser, who can read them, may have them sent to another place
    IF moves AND is_super THEN
        UPDATE capi.secret s SET endpoint = _alter_dataset.endpoint
         WHERE s.dataset_id = old.id AND coalesce(s.endpoint, old.endpoint) = old.endpoint;
    ELSIF moves THEN
        UPDATE capi.secret s SET endpoint = old.endpoint WHERE s.dataset_id = old.id AND s.endpoint IS NULL;
    END IF;
    UPDATE capi.dataset d
       SET dataset_id = coalesce(_alter_dataset.dataset_id, d.dataset_id),
           endpoint = coalesce(_alter_dataset.endpoint, d.endpoint),
           endpoint_by = CASE WHEN moves THEN pg_get_userbyid(caller)::text ELSE d.endpoint_by END,
           api_version = nullif(coalesce(_alter_dataset.api_version, d.api_version), ''),
           test_event_code = nullif(coalesce(_alter_dataset.test_event_code, d.test_event_code), ''),
           events_per_hour = coalesce(_alter_dataset.events_per_hour, d.events_per_hour),
           token_file = CASE WHEN access_token IS NOT NULL THEN NULL
                             ELSE nullif(coalesce(access_token_file, d.token_file), '') END
     WHERE d.id = old.id;
    IF access_token_file <> '' THEN
        DELETE FROM capi.secret s WHERE s.dataset_id = old.id AND s.kind = 'access_token';
    END IF;
    PERFORM capi._store_secret(old.id, 'access_token', access_token);
    PERFORM capi._store_secret(old.id, 'app_secret', app_secret);
    PERFORM capi._reactivate(old.id);
    PERFORM capi._config_changed();
END $$;

-- A changed dataset gets another chance, unless somebody paused it.
CREATE FUNCTION capi._reactivate(dataset int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE capi.dataset d SET state = 'active', reason = NULL, state_since = now()
     WHERE d.id = dataset AND d.state IN ('credential', 'version', 'refused');
END $$;

CREATE FUNCTION capi.alter_dataset(name text, dataset_id text = NULL, access_token text = NULL,
        access_token_file text = NULL, app_secret text = NULL, endpoint text = NULL,
        api_version text = NULL, test_event_code text = NULL, events_per_hour int = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._set_access_token(caller oid, name text, access_token text, endpoint text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset_to_change(name);
BEGIN
    IF access_token IS NULL THEN
        RAISE EXCEPTION 'access_token must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Use capi.pause_dataset() to stop sending.';
    END IF;
    PERFORM capi._check_dataset_args(NULL, access_token, NULL, NULL, NULL, NULL, NULL);
    PERFORM capi._check_giver(caller, old, capi._check_endpoint(endpoint));
    PERFORM capi._store_secret(old.id, 'access_token', access_token);
    UPDATE capi.dataset d SET token_file = NULL WHERE d.id = old.id;
    -- rotation resumes a paused dataset too (DESIGN 4.1)
    UPDATE capi.dataset d SET state = 'active', reason = NULL, state_since = now()
     WHERE d.id = old.id AND d.state <> 'active';
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.set_access_token(name text, access_token text, endpoint text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._pause_dataset(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
BEGIN
    UPDATE capi.dataset d
       SET state = 'paused', reason = 'paused by ' || pg_get_userbyid(caller), state_since = now()
     WHERE d.id = old.id AND d.state <> 'paused';
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.pause_dataset(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._resume_dataset(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
BEGIN
    UPDATE capi.dataset d SET state = 'active', reason = NULL, state_since = now()
     WHERE d.id = old.id AND d.state <> 'active';
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.resume_dataset(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

-- Events of one dataset that wait: those of a source, or of all (null).  What is
-- on its way while this is done follows the source (src/send/record.c).
CREATE FUNCTION capi._move_waiting(from_dataset int, to_dataset int, of_source int, also_sent boolean)
    RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE capi.backlog b SET dataset_id = to_dataset
     WHERE b.dataset_id = from_dataset AND (of_source IS NULL OR b.source_id = of_source)
       AND (also_sent OR b.status <> 'retrying' OR b.event_time IS NULL)
$$;

CREATE FUNCTION capi._drop_dataset(caller oid, name text, move_to text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
    target int := CASE WHEN move_to IS NOT NULL THEN capi._dataset_to_use(move_to) END;
    users text;
    waiting bigint;
BEGIN
    IF target = old.id THEN
        RAISE EXCEPTION 'events cannot be moved to the dataset that is dropped'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Name another dataset in move_to.';
    END IF;
    -- who attaches to it holds its row until his transaction ends
    PERFORM FROM capi.dataset d WHERE d.id = old.id FOR UPDATE;
    SELECT string_agg(s.name, ', ' ORDER BY s.name) INTO users
      FROM capi._sources s
     WHERE s.dataset_id = old.id
       AND NOT EXISTS (SELECT FROM capi.source o WHERE o.id = s.id AND o.detached_at IS NOT NULL);
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'dataset "%" is used by sources', name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = 'Sources: ' || users || '.',
                  HINT = 'Detach them, or give them another dataset with capi.alter_source().';
    END IF;
    SELECT string_agg(a.name, ', ' ORDER BY a.name) INTO users FROM capi.audience a WHERE a.dataset_id = old.id;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'dataset "%" is used by audiences', name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = 'Audiences: ' || users || '.',
                  HINT = 'Drop them, or give them another dataset with capi.alter_audience().';
    END IF;
    IF target IS NOT NULL THEN
        PERFORM capi._move_waiting(old.id, target, NULL, true);
    END IF;
    SELECT count(*) INTO waiting
      FROM capi.backlog b JOIN capi.source s ON s.id = b.source_id
     WHERE b.dataset_id = old.id AND s.detached_at IS NULL;
    IF waiting > 0 THEN
        RAISE EXCEPTION 'events wait for dataset "%"', name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = format('%s events were to be sent to it.', waiting),
                  HINT = 'Wait until they are sent, or name the dataset that they shall go to in move_to.';
    END IF;
    -- the row stays for the names in the delivery log; the secrets go
    DELETE FROM capi.secret s WHERE s.dataset_id = old.id;
    UPDATE capi.dataset d SET dropped_at = now() WHERE d.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.drop_dataset(name text, move_to text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.test_dataset(name text, test_event_code text = NULL)
    RETURNS TABLE ("check" text, ok boolean, detail text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_test_dataset';
