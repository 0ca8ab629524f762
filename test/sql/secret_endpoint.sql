-- A secret goes to the endpoint that its giver knows of, and does not move with it.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_mover;
CREATE ROLE regress_giver;
CREATE ROLE regress_reader;
\pset null '-'
\pset footer off
\pset format unaligned
SELECT capi.grant_access('regress_mover', 'admin');
SELECT capi.grant_access('regress_giver', 'admin');
SELECT capi.grant_access('regress_reader', 'reader');
CREATE VIEW secret_row AS
    SELECT d.name, s.kind, s.endpoint, d.endpoint AS dataset_endpoint, d.endpoint_by
      FROM capi.dataset d LEFT JOIN capi.secret s ON s.dataset_id = d.id WHERE d.dropped_at IS NULL;
GRANT SELECT ON secret_row TO regress_mover, regress_giver;

-- one moves the endpoint of a dataset that has no token yet, another gives the token
SET SESSION AUTHORIZATION regress_giver;
SELECT capi.create_dataset(name => 'main', dataset_id => '1');
SET SESSION AUTHORIZATION regress_mover;
SELECT capi.alter_dataset(name => 'main', endpoint => 'https://127.0.0.1:9/mine/');
SET SESSION AUTHORIZATION regress_giver;
SELECT capi.set_access_token('main', 'a-token');
SELECT capi.alter_dataset('main', access_token => 'a-token');
SELECT capi.alter_dataset('main', app_secret => 'a-secret');
SELECT capi.set_access_token('main', 'a-token', endpoint => 'https://graph.facebook.com');
SELECT capi.set_access_token('main', 'a-token', endpoint => 'nonsense');
-- who sees health sees where it goes
SET SESSION AUTHORIZATION regress_reader;
SELECT dataset, endpoint, state, split_part(reason, ':', 1) AS reason FROM capi.health;
SELECT detail FROM capi.diagnose() WHERE "check" = 'dataset main';
-- the file of a token likewise
RESET SESSION AUTHORIZATION;
GRANT pg_read_server_files TO regress_giver;
SET SESSION AUTHORIZATION regress_giver;
SELECT capi.alter_dataset('main', access_token_file => '/nowhere/token');
-- who means it says so, who moved it knows
SELECT capi.set_access_token('main', 'a-token', endpoint => 'https://127.0.0.1:9/mine');
SELECT * FROM secret_row;
SET SESSION AUTHORIZATION regress_mover;
SELECT capi.set_access_token('main', 'b-token');
SELECT capi.alter_dataset('main', app_secret => 'b-secret');
SELECT * FROM secret_row ORDER BY kind;
SET SESSION AUTHORIZATION regress_reader;
SELECT dataset, endpoint, state, split_part(reason, ':', 1) AS reason FROM capi.health;

-- the app secret stays behind, and counts again where it was given
SET SESSION AUTHORIZATION regress_mover;
SELECT capi.alter_dataset('main', endpoint => 'https://127.0.0.1:9/next', access_token => 'c-token');
SELECT * FROM secret_row ORDER BY kind;

-- a superuser moves both, and to where he moved them others may give theirs
RESET SESSION AUTHORIZATION;
SELECT capi.alter_dataset('main', endpoint => 'https://127.0.0.1:9/super');
SELECT * FROM secret_row ORDER BY kind;
SET SESSION AUTHORIZATION regress_giver;
SELECT capi.set_access_token('main', 'd-token');
SELECT * FROM secret_row ORDER BY kind;

-- whatever happens to the row of the dataset, the token is not sent elsewhere
RESET SESSION AUTHORIZATION;
UPDATE capi.dataset SET endpoint = 'https://127.0.0.1:9/other', endpoint_by = NULL WHERE name = 'main';
SELECT dataset, endpoint, state, split_part(reason, ':', 1) AS reason FROM capi.health;
SELECT "check", ok, detail FROM capi.test_dataset('main');
SET SESSION AUTHORIZATION regress_giver;
SELECT capi.set_access_token('main', 'd-token');
SELECT capi.alter_dataset('main', endpoint => 'https://graph.facebook.com', access_token => 'd-token');
SELECT capi.set_access_token('main', 'e-token');
SELECT * FROM secret_row WHERE kind = 'access_token';

RESET SESSION AUTHORIZATION;
SELECT capi.drop_dataset('main');
DROP VIEW secret_row;
DROP OWNED BY regress_mover, regress_giver, regress_reader;
DROP ROLE regress_mover, regress_giver, regress_reader;
