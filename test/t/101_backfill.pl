# P10: counting orders reads by the index on their time, and takes only locks of
# readers; missing orders are queued once, however backfills are cut off, called
# again, and run at the same time.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $count = 12_000;

$node->install_capi;
$node->attach;

# Orders that were paid while the trigger was off.
sub lose_orders
{
	my ($n) = @_;

	$node->sql(qq{
ALTER TABLE shop.orders DISABLE TRIGGER capi_capture;
INSERT INTO shop.orders (total, email, status, paid_at)
SELECT 10 + n * 0.01, format('customer.%s\@example.com', n), 'paid', now() - n * interval '10 seconds'
  FROM generate_series(1, $n) n;
ALTER TABLE shop.orders ENABLE TRIGGER capi_capture}, 'shop_owner');
	return;
}

sub missing
{
	return $node->sql("SELECT coalesce(sum(missing), 0) FROM capi.reconcile('paid_orders', now() - interval '30 days', 'infinity')", 'shop_owner');
}

my $backfill = "SET client_min_messages = warning; CALL capi.backfill('paid_orders', now() - interval '6 days')";

# --- how it is counted --------------------------------------------------------

$node->sql(q{
CREATE TABLE shop.past (id int PRIMARY KEY, at timestamptz, naive timestamp, seconds bigint);
INSERT INTO shop.past SELECT n, t, t AT TIME ZONE 'Europe/Berlin', extract(epoch FROM t)
  FROM (SELECT n, now() - n * interval '10 minutes' AS t FROM generate_series(1, 50000) n) x;
CREATE INDEX past_at ON shop.past (at);
CREATE INDEX past_naive ON shop.past (naive);
CREATE INDEX past_seconds ON shop.past (seconds);
ANALYZE shop.past}, 'shop_owner');
foreach my $column (qw(at naive seconds))
{
	$node->attach(
		source => "past_$column",
		table_name => 'shop.past',
		on_column => undef,
		on_values => undef,
		time_zone => 'Europe/Berlin',
		query => "SELECT id AS key, $column AS event_time FROM shop.past");
	is($node->sql("BEGIN; SELECT sum(orders) FROM capi.reconcile('past_$column', now() - interval '1 day', now() - interval '1 hour');"
			  . " SELECT pg_stat_get_xact_numscans('shop.past_$column'::regclass) > 0; COMMIT", 'shop_owner'),
		"138\nt", "a day of $column is read by its index");
}

my $reader = $node->session(role => 'shop_owner');
my $pid = $reader->sql('SELECT pg_backend_pid()');

$reader->sql('BEGIN');
$reader->sql("SELECT count(*) FROM capi.reconcile('paid_orders')");
is($node->sql("SELECT string_agg(DISTINCT mode, ',') FROM pg_locks WHERE pid = $pid AND locktype <> 'virtualxid'"),
	'AccessShareLock', 'P6: a count that is open has locks of readers only');
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->deliveries_ok('P6: orders are placed and delivered beside it');
$reader->sql('COMMIT');
$reader->quit;

# --- backfill -----------------------------------------------------------------

lose_orders($count);
is(missing(), $count, 'P10: what was never captured is missing');

# nobody can write to the queue
my $locker = $node->session;
$locker->sql('BEGIN; LOCK TABLE capi.queue_0, capi.queue_1, capi.queue_2, capi.queue_3, capi_reserve.queue IN SHARE MODE');
like($node->refuses($backfill, 'shop_owner'), qr/ERROR:  55P03: could not note orders in the queue.*HINT: /s,
	'a backfill that finds the queue locked says so');
$locker->sql('ROLLBACK');
$locker->quit;
is($node->sql('SELECT state, queued FROM capi.backfill_progress'), 'interrupted|0', 'and is shown as one that was cut off');

# cut off somewhere, or not at all
$node->refuses("SET statement_timeout = '400ms'; $backfill", 'shop_owner');

# two that go on at the same time, beside the dispatcher
my @sessions = map { $node->session(role => 'shop_owner') } 1 .. 2;
$_->send($backfill) foreach @sessions;
is($_->answer, '', 'P10: one of two backfills at the same time') foreach @sessions;
$_->quit foreach @sessions;
is(missing(), 0, 'P10: nothing is missing after that');
$node->wait_until_idle;
$node->deliveries_ok('P5: each order was sent once');
is($node->sql("SELECT state FROM capi.backfill_progress ORDER BY started_at DESC LIMIT 1"), 'done', 'the last one is done');
$node->sql($backfill, 'shop_owner');
$node->wait_until_idle;
$node->deliveries_ok('P5: and none again by another backfill');
is($node->sql("SELECT sum(orders) = sum(delivered) AND sum(order_value) = sum(delivered_value) FROM capi.reconcile('paid_orders', now() - interval '30 days', 'infinity')", 'shop_owner'),
	't', 'P10: orders and what was sent agree, in number and value');

# --- forgotten while it waits ---------------------------------------------------

my ($id) = $node->place_orders(1);
$node->sql("SELECT capi.pause_dataset('main')");
$node->pay($id);
ok($node->wait_for("SELECT status = 'queued' AND reason IS NOT NULL FROM capi.delivery_status WHERE order_key = '$id'"),
	'an order waits for its dataset');
cmp_ok($node->sql("SELECT capi.forget('$id')"), '>', 0, 'P7: it is forgotten');
$node->sql("SELECT capi.resume_dataset('main')");
$node->pay($node->place_orders(1));
$node->wait_until_idle;
is($node->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$id'"), 'ignored|forgotten',
	'P7: and not sent when the dataset goes on');
ok(!exists $node->received->{$id}, 'P7: the endpoint does not know it');

done_testing();
