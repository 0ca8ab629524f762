-- Datasets: making, changing, pausing and dropping them, as a role with the
-- duty of an admin.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = warning;
CREATE ROLE regress_admin;
SELECT capi.grant_access('regress_admin', 'admin');
SET SESSION AUTHORIZATION regress_admin;

-- a token that is stored as it is, is said to be
SELECT capi.create_dataset(name => 'shop', dataset_id => '1234567890', access_token => 'a-token');
SELECT dataset, state, left(reason, 18) AS reason FROM capi.health;

-- without a token it is there and waits
SELECT capi.create_dataset(name => 'second', dataset_id => '2');
SELECT dataset, state, left(reason, 18) AS reason FROM capi.health ORDER BY dataset;

-- null leaves a setting as it is, an empty text takes an optional one away
RESET SESSION AUTHORIZATION;
CREATE VIEW dataset_row AS
    SELECT name, dataset_id, endpoint, api_version, test_event_code AS test_code, events_per_hour AS per_hour, state
      FROM capi.dataset WHERE dropped_at IS NULL;
SELECT * FROM dataset_row ORDER BY name;
SET SESSION AUTHORIZATION regress_admin;
SELECT capi.alter_dataset(name => 'second', dataset_id => '22', endpoint => 'https://graph.example:8443/base/',
                          api_version => 'v24.0', test_event_code => 'TEST1', events_per_hour => 10);
RESET SESSION AUTHORIZATION;
SELECT * FROM dataset_row WHERE name = 'second';
SET SESSION AUTHORIZATION regress_admin;
SELECT capi.alter_dataset(name => 'second', api_version => '', test_event_code => '');
RESET SESSION AUTHORIZATION;
SELECT * FROM dataset_row WHERE name = 'second';
SET SESSION AUTHORIZATION regress_admin;

-- pausing, resuming; a new token resumes, too
SELECT capi.pause_dataset('shop');
SELECT dataset, state, left(reason, 18) AS reason FROM capi.health WHERE dataset = 'shop';
SELECT capi.resume_dataset('shop');
SELECT dataset, state, left(reason, 18) AS reason FROM capi.health WHERE dataset = 'shop';
SELECT capi.pause_dataset('shop');
SET client_min_messages = error;
SELECT capi.alter_dataset(name => 'shop', access_token => 'another-token');
SELECT dataset, state FROM capi.health WHERE dataset = 'shop';
SELECT capi.set_access_token(name => 'shop', access_token => 'a-third-token');
SELECT dataset, state FROM capi.health WHERE dataset = 'shop';

-- one secret of a kind is kept, and none of a dataset that was dropped
RESET SESSION AUTHORIZATION;
SELECT d.name, s.kind, count(*) FROM capi.secret s JOIN capi.dataset d ON d.id = s.dataset_id GROUP BY 1, 2;
SET SESSION AUTHORIZATION regress_admin;
SELECT capi.drop_dataset('shop');
SELECT capi.drop_dataset('second');
SELECT dataset FROM capi.health;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM capi.secret;

-- the name is free again, and a new dataset of that name is another one
SET SESSION AUTHORIZATION regress_admin;
SELECT capi.create_dataset(name => 'shop', dataset_id => '3');
RESET SESSION AUTHORIZATION;
SELECT count(DISTINCT id) > 1 AS others FROM capi.dataset WHERE name = 'shop';
SELECT capi.drop_dataset('shop');

DROP VIEW dataset_row;
DROP OWNED BY regress_admin;
DROP ROLE regress_admin;
