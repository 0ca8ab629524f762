-- Dataset and source of the measurements; the sink's port comes as :port.
-- events_per_hour is raised because its default is meant to throttle.

CREATE EXTENSION capi;

SELECT capi.create_dataset(name => 'main', dataset_id => '1234567890',
	access_token => 'bench-token', endpoint => 'https://localhost:' || :port,
	events_per_hour => 2000000000);

-- Every inserted row of "orders".
SELECT capi.attach(source => 'orders', table_name => 'orders',
	dataset => 'main', query => $$
	SELECT id AS key, created_at AS event_time, email AS em, phone AS ph,
		first_name AS fn, last_name AS ln, city AS ct, zip AS zp, country,
		total AS value, currency, id::text AS order_id,
		ip AS client_ip_address, user_agent AS client_user_agent, fbp, fbc
	FROM orders $$);

-- A transition rule; the measured updates never touch its column.
SELECT capi.attach(source => 'watched', table_name => 'orders_watched',
	dataset => 'main', on_column => 'status', on_values => '{completed}',
	query => $$
	SELECT id AS key, created_at AS event_time, email AS em,
		total AS value, currency
	FROM orders_watched $$);

-- The trigger on a table of which no source knows: what any trigger costs.
CREATE TRIGGER capi_capture AFTER INSERT OR UPDATE ON orders_idle
	FOR EACH ROW EXECUTE FUNCTION capi.capture();
