-- What waits when its dataset or its table is another one: errors and answers.
-- No dispatcher runs here.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = error;
SELECT capi.create_dataset('main', '1', access_token => 'a-token'), capi.create_dataset('second', '2', access_token => 'a-token');
RESET client_min_messages;
\set VERBOSITY default
CREATE TABLE orders (id int PRIMARY KEY, status text, created_at timestamptz DEFAULT now(), email text);
SELECT capi.attach('placed', 'orders', 'main', 'Lead', 'SELECT id AS key, created_at AS event_time, email AS em FROM orders');

-- datasets: what was sent stays with the old one, the rest follows its source
INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, attempts, event_time)
SELECT s.id, v.key, s.dataset_id, v.status, now(), now(), v.attempts, now()
  FROM capi.source s, (VALUES ('new', 'queued', 0), ('refused', 'queued', 2), ('sent', 'retrying', 1)) AS v (key, status, attempts);
SELECT capi.drop_dataset('main');
SELECT capi.alter_source('placed', dataset => 'second');
SELECT order_key, dataset, status FROM capi.delivery_status ORDER BY 1;
SELECT capi.drop_dataset('main');
SELECT capi.drop_dataset('main', move_to => 'main');
SELECT capi.drop_dataset('main', move_to => 'secnd');
SELECT capi.drop_dataset('main', move_to => 'second');
SELECT order_key, dataset, status FROM capi.delivery_status ORDER BY 1;
SELECT dataset, queued, retrying FROM capi.health;

DROP TABLE orders;
DROP EXTENSION capi;
