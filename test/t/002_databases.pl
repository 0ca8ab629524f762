# P12: dispatchers come and go with databases, with the extension and with
# settings, and never cost more than they must.
# alone: some of its steps take effect within a second.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	databases => 'shop, toys, later',
	conf => "log_min_messages = debug1\ncapi.poll_interval = '10min'");
my $toys = $node->in_database('toys', dataset_id => '222');
my $later = $node->in_database('later', dataset_id => '333');
my $log;

# Waits until a dispatcher came, found nothing to do and left.
sub wait_for_look
{
	my ($database, $from) = @_;

	$node->wait_for_log(
		qr/DEBUG:  unregistering background worker "capi dispatcher for $database"/, $from);
	return;
}

# --- the extension comes -----------------------------------------------------

$node->wait_for_log(qr/exited with exit code 0/);
ok(!$node->dispatcher_runs, 'P12: no dispatcher in a database without the extension');

$log = $node->log_size;
my $session = $node->session;
$session->sql('BEGIN; CREATE EXTENSION capi; ROLLBACK');
$session->sql('BEGIN; CREATE EXTENSION capi');
$node->reload;
wait_for_look('shop', $log);
ok(!$node->dispatcher_runs, 'P12: none before CREATE EXTENSION commits');
unlike($node->log_since($log), qr/(DEBUG:  registering background worker "capi dispatcher for shop".*){2}/s,
	'P12: a CREATE EXTENSION that is rolled back wakes nobody');
$session->sql('COMMIT');
my $began = time;
my $pid = $node->dispatcher_pid;
cmp_ok(time - $began, '<', 5, 'P12: noticed when CREATE EXTENSION commits');

is($node->sql("SELECT application_name, backend_type FROM pg_stat_activity WHERE pid = $pid"),
	'capi dispatcher|capi dispatcher', 'P12: it says who it is');
ok($node->wait_for("SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid"),
	'P11: it is idle, not in a transaction');
is($node->sql("SELECT xact_start IS NULL AND backend_xmin IS NULL FROM pg_stat_activity WHERE pid = $pid"),
	't', 'P11: it holds no snapshot');
like($node->sql("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = $pid"),
	($node->pg_version >= 17 ? qr/^Extension\|CapiHttp$/ : qr/^Extension\|Extension$/),
	'P12: its wait event');
is($node->sql('SELECT state, failures, missed FROM capi._slot()'), 'running|0|0', 'P10: the slot says so');
is($node->sql(q{SELECT ok FROM capi.diagnose() WHERE "check" = 'dispatcher'}), 't', 'P10: and diagnose()');

$node->sql("SELECT capi.grant_access('shop_owner', 'admin')");
$node->create_dataset;
$node->attach;
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->deliveries_ok('P3: the new dispatcher');

# --- a second and a third database -------------------------------------------

like($node->log_since(0), qr/WARNING:  database "toys" of capi.databases does not exist/,
	'P12: a listed database that does not exist is named');
$toys->create_shop;
$toys->install_capi;
$toys->attach;
$toys->pay($toys->place_orders(4));
$toys->wait_until_idle;
$toys->deliveries_ok('P12: a database created later');
$node->pay($node->place_orders(2));
$node->wait_until_idle;
$node->deliveries_ok('P12: two databases at once');
$log = $node->log_size;
$later->create_shop;
wait_for_look('later', $log);
$node->reload;
my $named = () = $node->log_since(0) =~ /WARNING:  database "later" of capi.databases does not exist/g;
is($named, 1, 'P12: the missing one was named once');

# all of it in one transaction, orders included; with wal_level = minimal, which
# this server has, pages of new tables may then have no position in the WAL
my $sent = $sandbox->stats->{distinct_events};
$later->sql(q{
SET wal_skip_threshold = 0;
BEGIN;
CREATE EXTENSION capi;
SET LOCAL client_min_messages = error;
SELECT capi.create_dataset(name => 'main', dataset_id => '333', access_token => 'sandbox-token', endpoint => '}
	  . $sandbox->url . q{');
SELECT capi.attach(source => 'paid_orders', table_name => 'shop.orders', dataset => 'main', on_column => 'status',
                   on_values => '{paid}', query => $$
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em, 'agent' AS client_user_agent,
       'https://shop.example/' AS event_source_url FROM shop.orders o $$);
INSERT INTO shop.orders (total, email, status, paid_at) VALUES (1, 'first@example.com', 'paid', now());
COMMIT});
ok($sandbox->wait_for(distinct_events => $sent + 1, timeout_s => 10), 'P3: it is sent');
$later->deliveries_ok('P3: an order of the transaction that created the extension');

# --- the extension goes ------------------------------------------------------

$log = $node->log_size;
foreach my $round (1 .. 5)
{
	$toys->pay($toys->place_orders(100));
	$toys->sql('DROP EXTENSION capi');
	$toys->pay($toys->place_orders(1));
	$toys->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity"
		  . " WHERE backend_type = 'capi dispatcher' AND datname = 'toys'")
	  or die;
	$toys->install_capi;
	$toys->attach;
}
$toys->sql('BEGIN; DROP EXTENSION capi; ROLLBACK');
$toys->pay($toys->place_orders(1));
$toys->wait_until_idle;
pass('P12: DROP EXTENSION and CREATE EXTENSION, five times in mid-work');
unlike($node->log_since($log), qr/ERROR|FATAL|WARNING.*dispatcher/, 'P12: none of it is an error');

# while it waits for an answer
$toys->hang(2);
$began = time;
$toys->sql('DROP EXTENSION capi');
$toys->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity"
	  . " WHERE backend_type = 'capi dispatcher' AND datname = 'toys'")
  or die;
cmp_ok(time - $began, '<', 5, 'P12: DROP EXTENSION does not wait for the answer');
unlike($node->log_since($log), qr/ERROR|FATAL/, 'P12: nor is that an error');
$sandbox->release;

# --- settings ----------------------------------------------------------------

$node->change('capi.enabled' => 'off');
ok($node->wait_for("SELECT state = 'disabled' FROM capi.health"), 'P10: health says disabled');
my $requests = $sandbox->stats->{requests};
$node->pay($node->place_orders(5));
ok($node->wait_for("SELECT count(*) = 5 FROM capi.delivery_status WHERE status = 'queued'"),
	'P3: with capi.enabled off orders are captured');
$node->sql("SELECT capi._config_changed()");    # wakes it
is($sandbox->stats->{requests}, $requests, 'P12: and nothing is sent');
$node->change('capi.enabled' => 'on');
$node->wait_until_idle;
$node->deliveries_ok('P3: switched on again by reload');

$node->change('capi.linger' => '10min');
$node->pay($node->place_orders(2));
ok($node->wait_for("SELECT query LIKE 'capi: %' AND state = 'idle' FROM pg_stat_activity"
	  . " WHERE backend_type = 'capi dispatcher' AND datname = 'shop'"), 'P12: its activity says what it did');
$node->change('capi.linger' => '0');
$node->wait_until_idle;
$node->deliveries_ok('P12: a shorter capi.linger holds for what waits already');

$node->change('capi.databases' => 'toys, later');
$node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher' AND datname = 'shop'")
  or die;
pass('P12: a database taken off the list loses its dispatcher');
is($node->sql(q{SELECT string_agg("check", ',') FROM capi.diagnose() WHERE NOT ok AND "check" IN ('listed', 'dispatcher')}),
	'listed,dispatcher', 'P10: diagnose() says why');
$node->pay($node->place_orders(2));
$node->change('capi.databases' => 'shop, toys, later');
$node->wait_until_idle;
$node->deliveries_ok('P3: listed again');

# --- it dies -----------------------------------------------------------------

sub times_of
{
	my ($text, $what) = @_;

	return map { my ($h, $m, $s) = split /:/; $h * 3600 + $m * 60 + $s }
	  $text =~ /^\S+ ([\d:.]+) \S+ \[\d+\] postmaster $what/mg;
}

# an error each time it starts: it comes back ever later
$pid = $node->dispatcher_pid;
my $failures = $node->sql('SELECT failures FROM capi._slot()');
$log = $node->log_size;
$node->sql('ALTER TABLE capi.delivery RENAME COLUMN key TO kee');
$node->sql("SELECT pg_terminate_backend($pid)");
$node->pay($node->place_orders(2));
ok($node->wait_for("SELECT failures >= $failures + 3 AND state = 'waiting to restart' FROM capi._slot()"),
	'P12: a dispatcher that fails is started again');
like($node->sql(q{SELECT detail FROM capi.diagnose() WHERE "check" = 'dispatcher' AND NOT ok}),
	qr/state: waiting to restart, failed starts in a row: [3-9]/, 'P10: diagnose() counts the failures');
my @ends = times_of($node->log_since($log), qr/LOG:  background worker "capi dispatcher".*exit code 1/);
my @starts = times_of($node->log_since($log), qr/DEBUG:  registering background worker "capi dispatcher for shop"/);
SKIP: {
	skip 'midnight', 1 if $ends[0] > $starts[1];
	cmp_ok($starts[1] - $ends[1], '>', 1.5 * ($starts[0] - $ends[0]), 'P12: later each time');
}
$node->sql('ALTER TABLE capi.delivery RENAME COLUMN kee TO key');
$began = time;
$node->reload;
$node->wait_until_idle;
cmp_ok(time - $began, '<', 3, 'P12: a reload starts it at once');
$node->deliveries_ok('P3: nothing was lost meanwhile');

$pid = $node->dispatcher_pid;
my @hung = $node->hang(3);
$began = time;
is($node->sql("SELECT pg_terminate_backend($pid, 5000)"), 't', 'P12: pg_terminate_backend while a request hangs');
cmp_ok(time - $began, '<', 1, 'P12: takes effect within a second');
$sandbox->release;
$node->reload;
$node->dispatcher_pid($pid);
$node->wait_until_idle;
$node->deliveries_ok('P3: another dispatcher goes on', max_repeats => scalar @hung);

# --- the launcher dies -------------------------------------------------------

$pid = $node->dispatcher_pid;
my $launcher = $node->sql('SELECT launcher_pid FROM capi._slot()');
kill 'TERM', $launcher;
$node->pay($node->place_orders(2));
$node->wait_until_idle;
is($node->dispatcher_pid, $pid, 'P12: dispatchers live on without the launcher');
ok($node->wait_for("SELECT launcher_pid <> $launcher FROM capi._slot()"), 'P12: and the launcher comes back');
$node->pay($node->place_orders(2));
$node->wait_until_idle;
is($node->dispatcher_pid, $pid, 'P12: and starts no second one');
$node->deliveries_ok('P5: each order once', max_repeats => scalar @hung);

done_testing();
