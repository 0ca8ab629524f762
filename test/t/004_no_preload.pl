# P12: a server that does not preload capi: orders are captured, and a session
# delivers them with CALL capi.deliver().
# alone: some of its steps take effect within a second.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0,
	conf => "capi.request_timeout = '10min'");
my $repeats = 0;
my ($began, $answer, @ids);

$node->install_capi;
$node->attach;
$node->sql("CREATE ROLE cron LOGIN; SELECT capi.grant_access('cron', 'operator')");

# --- capture and delivery ----------------------------------------------------

$node->pay($node->place_orders(10));
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued'"), 10,
	'P3: orders are captured without preload');
is($sandbox->stats->{requests}, 0, 'and nobody sends');
is($node->sql(q{SELECT string_agg("check", ',') FROM capi.diagnose() WHERE NOT ok}),
	'preloaded,listed,dispatcher', 'P10: diagnose() says why');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'preloaded'}),
	qr/CALL capi.deliver\(\)/, 'P10: and what to do');
$node->sql('CALL capi.deliver()', 'cron');
$node->deliveries_ok('P3: CALL capi.deliver()');
is($node->sql(q{SELECT string_agg("check", ',') FROM capi.diagnose() WHERE NOT ok}), '', 'who calls it now and then has no check that fails');
like($node->sql(q{SELECT detail FROM capi.diagnose() WHERE "check" = 'preloaded'}), qr/; capi\.deliver\(\) sends, and was at work at /, 'and is told so');
$node->sql('CALL capi.deliver()', 'cron');
$node->deliveries_ok('P5: once more, with nothing to do');

$node->pay($node->place_orders(1200));
$node->sql("CALL capi.deliver(max_time => '10 minutes')", 'cron');
$node->deliveries_ok('P3: several requests, max_time is long enough');
is($sandbox->stats->{largest_request_events}, 1000, 'of a thousand at most');

$node->pay($node->place_orders(5));
$node->sql('DO $$ BEGIN CALL capi.deliver(); END $$', 'cron');
$node->deliveries_ok('P3: from a DO block');

# --- where it cannot run -----------------------------------------------------

$node->pay($node->place_orders(2));
like($node->refuses("BEGIN;\nCALL capi.deliver();", 'cron'), qr/ERROR:  2D000: .*HINT: /s,
	'P12: not inside a transaction block');
like($node->refuses('CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql'
		  . ' AS $$ BEGIN CALL capi.deliver(); END $$; SELECT pg_temp.f()', 'cron'),
	qr/ERROR:  2D000: /, 'P12: not inside a function');
like($node->refuses("SET default_transaction_read_only = on;\nCALL capi.deliver();", 'cron'),
	qr/ERROR:  25006: /, 'P3: not where outcomes could not be recorded');
like($node->refuses('CALL capi.deliver()', 'shop_app'), qr/ERROR:  42501: /, 'P9: not by anybody');
is($sandbox->stats->{distinct_events}, scalar(keys %{ $node->committed }) - 2,
	'P3: and none of these sent anything');
$node->sql("SET default_transaction_isolation = serializable;\nCALL capi.deliver();", 'cron');
$node->deliveries_ok('P3: at another isolation level');

# --- one at a time -----------------------------------------------------------

my $cron = $node->session(role => 'cron');
@ids = $node->place_orders(4);
$sandbox->misbehave(hang => JSON::PP::true());
$node->pay(@ids);
$cron->send('CALL capi.deliver()');
$sandbox->wait_for(hanging => 1) or die;
my $activity = 'FROM pg_stat_activity WHERE pid = ';
like($node->refuses('CALL capi.deliver()'), qr/ERROR:  55006: another process.*DETAIL: .*HINT: /s,
	'P5: a second session is refused');
is($node->sql("SELECT count(*), count(xact_start), count(backend_xid), count(backend_xmin)"
	  . " FROM pg_stat_activity WHERE query LIKE 'CALL%' AND state = 'active'"), '1|1|0|0',
	'P11: while it waits it holds no snapshot and no transaction id');
$sandbox->release;
is($cron->answer, '', 'the first one ends well');
$node->deliveries_ok('P3: after the answer');

# --- interrupts --------------------------------------------------------------

# the sandbox takes the events, the answer does not come
sub hang_in_session
{
	my ($session, $call) = @_;

	@ids = $node->place_orders(3);
	$sandbox->misbehave(hang => JSON::PP::true(), accept => JSON::PP::true());
	$node->pay(@ids);
	$session->send($call);
	$sandbox->wait_for(hanging => 1) or die;
	return;
}

my $pid = $cron->pid;
hang_in_session($cron, 'CALL capi.deliver()');
$began = time;
$node->sql("SELECT pg_cancel_backend($pid)");
like($cron->answer, qr/canceling statement due to user request/, 'P12: a cancel is served');
cmp_ok(time - $began, '<', 1, 'P12: at once');
$repeats += @ids;
is($node->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND mode = 'ExclusiveLock'"), 0, 'P12: the lock is given back');
$sandbox->release;
$cron->sql('CALL capi.deliver()');
$node->deliveries_ok('P3: nothing was lost', max_repeats => $repeats);

hang_in_session($cron, "SET statement_timeout = '300ms';\nCALL capi.deliver()");
like($cron->answer, qr/canceling statement due to statement timeout/, 'P12: statement_timeout is served');
$repeats += @ids;
$sandbox->release;
$cron->sql("RESET statement_timeout;\nCALL capi.deliver()");

hang_in_session($cron, 'CALL capi.deliver()');
$began = time;
is($node->sql("SELECT pg_terminate_backend($pid, 5000)"), 't', 'P12: pg_terminate_backend is served');
cmp_ok(time - $began, '<', 1, 'P12: at once');
$repeats += @ids;
$sandbox->release;
undef $cron;
$node->sql('CALL capi.deliver()', 'cron');
$node->deliveries_ok('P3: nothing was lost', max_repeats => $repeats);

# the query of a source is no fault of its own when somebody cancels it
$cron = $node->session(role => 'cron');
$pid = $cron->pid;
$node->sql("CREATE FUNCTION shop.doze() RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(60)::text'", 'shop_owner');
my $usual = $node->sql("SELECT query FROM capi.source WHERE name = 'paid_orders'");
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$" . $usual =~ s/SELECT o.id AS key/SELECT o.id AS key, shop.doze() AS client_ip_address/r
	  . "\$q\$)", 'shop_owner');
$node->pay($node->place_orders(2));
$cron->send('CALL capi.deliver()');
$node->wait_for("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE backend_type = 'capi reader'") or die;
$node->sql("SELECT pg_cancel_backend($pid)");
like($cron->answer, qr/canceling statement due to user request/, 'P12: a cancel is served during a query');
is($node->sql("SELECT state FROM capi.source_status"), 'active', 'P6: the source is not called broken for it');
is($cron->sql('SELECT current_user'), 'cron', 'P9: the session is again who it was');
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$$usual\$q\$)", 'shop_owner');
$cron->sql('CALL capi.deliver()');
$node->deliveries_ok('P3: nothing was lost', max_repeats => $repeats);
$cron->quit;

# max_time ends the beginning of requests, not the wait for their answers (P5)
$cron = $node->session(role => 'cron');
@ids = $node->place_orders(1100);
$sandbox->misbehave(hang => JSON::PP::true());
$node->change('capi.max_in_flight' => 1);
$node->pay(@ids);
$cron->send("CALL capi.deliver(max_time => '100ms')");
$sandbox->wait_for(hanging => 1) or die;
$node->wait_for("SELECT clock_timestamp() - query_start > '300ms' FROM pg_stat_activity WHERE query LIKE 'CALL%' AND state = 'active'")
  or die;
$sandbox->release;
is($cron->answer, '', 'P12: max_time');
is($node->sql("SELECT status, count(*) FROM capi.delivery_status WHERE order_key IN ('"
	  . join("', '", @ids) . "') GROUP BY 1 ORDER BY 1"), "delivered|1000\nqueued|100",
	'P5: the request under way was waited for, no other was begun');
$node->change('capi.max_in_flight' => 4);
$cron->sql("CALL capi.deliver(max_time => '10s')");
$node->deliveries_ok('P5: the rest', max_repeats => $repeats);

# --- errors and rights -------------------------------------------------------

# a broken query stops neither the session nor another source
$node->sql(q{
CREATE TABLE shop.letters (id int PRIMARY KEY, email text, at timestamptz DEFAULT now());
GRANT INSERT ON shop.letters TO shop_app}, 'shop_owner');
$node->attach(source => 'letters', table_name => 'shop.letters', event_name => 'Lead',
	on_column => undef, on_values => undef, query => q{
SELECT l.id AS key, l.at AS event_time, l.email AS em, 'lead-' || l.id AS event_id,
       'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent, 1 / (l.id - 3) AS value,
       'EUR' AS currency
  FROM shop.letters l});
$node->sql("INSERT INTO shop.letters SELECT n, 'letter' || n || '\@example.com' FROM generate_series(1, 5) n", 'shop_app');
$node->sql('ALTER TABLE shop.orders RENAME COLUMN email TO mail');
$node->sql("UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id IN ("
	  . "SELECT id FROM shop.orders WHERE status = 'pending' LIMIT 1)");
$node->sql("INSERT INTO shop.orders (total, mail, status, paid_at) VALUES (7, 'seven\@example.com', 'paid', now())");
$cron->sql('CALL capi.deliver()');
is($node->sql("SELECT status, count(*) FROM capi.delivery_status WHERE source = 'letters' GROUP BY 1 ORDER BY 1"),
	"delivered|4\nretrying|1", 'P6: an order whose data is bad waits alone');
is($node->sql("SELECT state FROM capi.source_status WHERE source = 'paid_orders'"), 'broken',
	'P6: a broken query is noted');
is($cron->sql('SELECT current_user'), 'cron', 'P9: the session is again who it was');
is($cron->sql('SHOW search_path'), '"$user", public', 'P12: and has its settings');
$node->sql('ALTER TABLE shop.orders RENAME COLUMN mail TO email');
$node->sql("SELECT capi.resume('paid_orders')");
$cron->sql('CALL capi.deliver()');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE source = 'paid_orders' AND status <> 'delivered'"), 0,
	'P3: and mended');

# what the caller has in its search_path never runs with the owner's rights
$node->sql('CREATE SCHEMA evil AUTHORIZATION cron');
$cron->sql(q{
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
$$ BEGIN
	IF current_user <> 'cron' THEN EXECUTE 'CREATE ROLE robbed'; END IF;
	RETURN pg_catalog.now();
END $$});
$node->pay($node->place_orders(2));
$cron->sql("SET search_path = evil, pg_catalog;\nCALL capi.deliver()");
is($node->sql("SELECT count(*) FROM pg_roles WHERE rolname = 'robbed'"), 0,
	"P9: the caller's search_path does not count");
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE source = 'paid_orders' AND status <> 'delivered'"), 0,
	'P3: and the events are delivered');

done_testing();
