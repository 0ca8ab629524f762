-- Datasets: everything that is refused, and with which words.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_admin;
SELECT capi.grant_access('regress_admin', 'admin');
SET SESSION AUTHORIZATION regress_admin;
\pset tuples_only on

-- unknown ones, while there are none and while there are some
SELECT capi.pause_dataset('shop');
SELECT capi.create_dataset(name => 'shop', dataset_id => '123', access_token => 'a-token');
SELECT capi.create_dataset(name => 'outlet', dataset_id => '124');
SELECT capi.alter_dataset(name => 'shap', api_version => 'v24.0');
SELECT capi.set_access_token(name => 'warehouse', access_token => 'a-token');
SELECT capi.pause_dataset('Shop');
SELECT capi.resume_dataset('shoes');
SELECT capi.drop_dataset('x');
SELECT capi.drop_dataset(NULL);

-- names
SELECT capi.create_dataset(name => 'shop', dataset_id => '123');
SELECT capi.create_dataset(name => '', dataset_id => '123');
SELECT capi.create_dataset(name => NULL, dataset_id => '123');
SELECT capi.create_dataset(name => E'a\nb', dataset_id => '123');
SELECT capi.create_dataset(name => repeat('x', 64), dataset_id => '123');

-- ids of datasets
SELECT capi.create_dataset(name => 'new', dataset_id => '12x');
SELECT capi.create_dataset(name => 'new', dataset_id => '');
SELECT capi.create_dataset(name => 'new', dataset_id => '123456789012345678901');
SELECT capi.create_dataset(name => 'new', dataset_id => '1/../2');
SELECT capi.create_dataset(name => 'new', dataset_id => E'1\n');
SELECT capi.create_dataset(name => 'new', dataset_id => NULL);
SELECT capi.alter_dataset(name => 'shop', dataset_id => '');

-- tokens and secrets: no message repeats one
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token => E'with\nbreak');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token => 'with space');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token => 'ümlaut');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token => '');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token => repeat('x', 4097));
SELECT capi.create_dataset(name => 'new', dataset_id => '1', app_secret => E'with\ttab');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', app_secret => '');
SELECT capi.alter_dataset(name => 'shop', access_token => 'with space');
SELECT capi.set_access_token(name => 'shop', access_token => E'bad\r');
SELECT capi.set_access_token(name => 'shop', access_token => '');
SELECT capi.set_access_token(name => 'shop', access_token => NULL);

-- files of the server
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token_file => '/etc/shop/token');
SELECT capi.alter_dataset(name => 'shop', access_token_file => '/etc/shop/token');
RESET SESSION AUTHORIZATION;
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token_file => 'token');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token_file => E'/etc/a\nb');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', access_token => 'a', access_token_file => '/etc/shop/token');
GRANT pg_read_server_files TO regress_admin;
SET SESSION AUTHORIZATION regress_admin;
SELECT capi.create_dataset(name => 'filed', dataset_id => '1', access_token_file => '/nonexistent/token');
SELECT state, reason FROM capi.health WHERE dataset = 'filed';
SELECT capi.drop_dataset('filed');

-- endpoints
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'ftp://graph.example');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'graph.example');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => '');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => NULL);
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://user:pw@graph.example');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://graph.example?x=1');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://graph.example#x');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => E'https://graph.example\r\nHost: other');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://graph.example:port');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://graph.example:65536');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://[::1');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'https://graph.example/' || repeat('x', 500));
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'http://graph.example');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'http://127.0.0.1:8080');
SELECT capi.alter_dataset(name => 'shop', endpoint => 'http://localhost', access_token => 'a-token');
SET capi.allow_http = on;
RESET SESSION AUTHORIZATION;
SET capi.allow_http = on;
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'http://127.0.0.1.example');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', endpoint => 'http://graph.example');
SELECT capi.create_dataset(name => name, dataset_id => '1', endpoint => endpoint)
  FROM (VALUES ('v4', 'http://127.0.0.1:8080'), ('v6', 'http://[::1]:8080/x'), ('name', 'http://localhost')) AS e (name, endpoint);
SELECT capi.drop_dataset(name) FROM (VALUES ('v4'), ('v6'), ('name')) AS e (name);
RESET capi.allow_http;
SET SESSION AUTHORIZATION regress_admin;

-- a token that is stored does not follow to another host
SELECT capi.alter_dataset(name => 'shop', endpoint => 'https://elsewhere.example');
SELECT capi.alter_dataset(name => 'shop', endpoint => 'https://elsewhere.example', access_token_file => '');
SELECT capi.alter_dataset(name => 'shop', endpoint => 'https://graph.facebook.com/');
SELECT capi.alter_dataset(name => 'shop', endpoint => 'https://elsewhere.example', access_token => 'a-token');
SELECT capi.alter_dataset(name => 'outlet', endpoint => 'https://elsewhere.example');

-- the rest
SELECT capi.create_dataset(name => 'new', dataset_id => '1', api_version => '25');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', api_version => 'v25.0/../x');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', test_event_code => 'TEST 1');
SELECT capi.create_dataset(name => 'new', dataset_id => '1', events_per_hour => 0);
SELECT capi.create_dataset(name => 'new', dataset_id => '1', events_per_hour => NULL);
SELECT capi.alter_dataset(name => 'shop', events_per_hour => -1);

-- what a source uses stays
RESET SESSION AUTHORIZATION;
CREATE TABLE sold (id int PRIMARY KEY, created_at timestamptz);
SELECT capi.attach(source => 'orders', table_name => 'sold', dataset => 'outlet',
                   query => 'SELECT id AS key, created_at AS event_time FROM sold');
SET SESSION AUTHORIZATION regress_admin;
SELECT capi.drop_dataset('outlet');
RESET SESSION AUTHORIZATION;
SELECT capi.detach('orders');
DROP TABLE sold;

-- a key file that cannot be used: the token is not stored in clear instead
SET capi.key_file = '/nonexistent/key';
SELECT capi.set_access_token(name => 'shop', access_token => 'a-token', endpoint => 'https://elsewhere.example');
RESET capi.key_file;

-- settings
SET capi.nonsense = 1;
SET capi.api_version = '25';
ALTER SYSTEM SET capi.databases = 'a,,b';
SET capi.databases = 'a';
SET SESSION AUTHORIZATION regress_admin;
SET capi.enabled = off;
SELECT count(*) FROM pg_settings WHERE name = 'capi.key_file';
RESET SESSION AUTHORIZATION;

-- asking an endpoint
SELECT * FROM capi.test_dataset(NULL);
SELECT * FROM capi.test_dataset('nowhere');
SELECT * FROM capi.test_dataset('shop', 'a b');

SELECT capi.drop_dataset('shop');
SELECT capi.drop_dataset('outlet');
\pset tuples_only off
DROP OWNED BY regress_admin;
DROP ROLE regress_admin;
