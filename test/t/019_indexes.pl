# P3, P10: what goes past the executor.  The log's indexes know every row, those
# that an administrator adds included; what is due is found at the front of the
# backlog's index, whoever put it there; a session outlives the extension it
# worked for.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0);
$node->install_capi;
$node->attach;
$node->sql('CREATE EXTENSION amcheck');
my $session = $node->session;

sub deliver
{
	my ($orders) = @_;
	$node->pay($node->place_orders($orders));
	$session->sql("CALL capi.deliver(max_time => '10 minutes')");
	return;
}

# Every B-tree of the log has an entry for every row that it should have.
sub btrees_ok
{
	my ($name) = @_;
	my $count = $node->sql(
		'SELECT count(bt_index_check(i.indexrelid, true)::text) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid'
		  . " JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'"
		  . " WHERE i.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('capi.delivery'::regclass, 'capi.request'::regclass))"
	);
	cmp_ok($count, '>=', 3, $name);
	return;
}

# The newest rows, found through the index on the time, and one by one.
sub brin_ok
{
	my ($name) = @_;
	my $last = $node->sql('SELECT max(finished_at) FROM capi.delivery');
	my $count = "SELECT count(*) FROM capi.delivery WHERE finished_at >= '$last'";
	is($node->sql("SET enable_seqscan = off; SET enable_indexscan = off; $count"),
		$node->sql("SET enable_bitmapscan = off; $count"), $name);
	return;
}

# --- our own indexes ---------------------------------------------------------------

deliver(1);
deliver(2500);
btrees_ok('P10: entries of several requests');
brin_ok('P10: of their blocks');
# makes the next rows fall into blocks that the index knows, and others
$node->sql('SELECT brin_summarize_new_values(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid'
	  . " JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'");
deliver(1200);
brin_ok('P10: of blocks summarised before');
$node->deliveries_ok('P3: all arrived');

# --- orders that are captured again ------------------------------------------------

sub capture_again
{
	my ($which) = @_;
	$node->sql("UPDATE shop.orders SET status = '$_' WHERE $which", 'shop_app') foreach 'placed', 'paid';
	return;
}

# neighbours in the index, all of them known
capture_again('id <= 400');
$session->sql('CALL capi.deliver()');
# some here and there, with many others between them, and new ones
capture_again('id % 7 = 0');
deliver(300);
# one that is known, between new ones
$node->pay($node->place_orders(3));
capture_again('id = (SELECT max(id) - 1 FROM shop.orders)');
$session->sql('CALL capi.deliver()');
capture_again('id >= (SELECT max(id) - 1 FROM shop.orders)');
deliver(3);
is($node->sql('SELECT count(*) FROM (SELECT FROM capi.delivery GROUP BY key HAVING count(*) > 1) r'),
	0, 'P5: an order that the log knows is in it once');
$node->deliveries_ok('P5: those that were captured again');

# --- and others --------------------------------------------------------------------

my $partition = $node->sql('SELECT tableoid::regclass FROM capi.delivery LIMIT 1');
$node->sql("CREATE INDEX ON $partition (request_id, outcome)");
deliver(50);
btrees_ok('P10: an index of columns');
$node->sql("CREATE INDEX ON $partition (lower(key)) WHERE value > 5; CREATE UNIQUE INDEX ON $partition (source_id, key)");
deliver(50);
btrees_ok('P10: indexes of an expression, of some rows, without equals');
brin_ok('P10: and the one on the time');
$node->deliveries_ok('P3: all arrived');

# --- the front of the backlog ----------------------------------------------------------

# begins before anything below, and now() is the time it has
my $early = $node->session;
$early->sql('BEGIN; SELECT now()');
# sees what is deleted from now on
my $old = $node->session;
$old->sql('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM capi.backlog');
foreach my $round (1 .. 3)
{
	$node->sql("SELECT capi.pause('paid_orders')");
	deliver(40);
	is($node->sql('SELECT count(*) FROM capi.backlog'), 40, "round $round: orders wait");
	$node->sql("SELECT capi.resume('paid_orders')");
	$session->sql("CALL capi.deliver()");
	is($node->sql('SELECT count(*) FROM capi.backlog'), 0, 'P3: and are found past the dead rows');
}
$node->sql("INSERT INTO shop.orders (total, email, is_test, status, paid_at)"
	  . " SELECT 1, 'test\@example.com', true, 'paid', now() FROM generate_series (1, 7)", 'shop_app');
$session->sql('CALL capi.deliver()');
is($node->sql("SELECT count(*) FROM capi.delivery WHERE outcome = 'ignored'"), 7, 'some are ignored');
$node->sql("UPDATE shop.orders SET is_test = false WHERE email = 'test\@example.com'", 'shop_app');
$early->sql("SELECT capi.redrive(status => 'ignored'); COMMIT");
is($node->sql('SELECT count(*) FROM capi.backlog WHERE next_attempt_at < (SELECT max(finished_at) FROM capi.delivery)'),
	7, 'what was put there with an earlier time');
$session->sql('CALL capi.deliver()');
is($node->sql('SELECT count(*) FROM capi.backlog'), 0, 'P3: is found as well');
$node->deliveries_ok('P3: all arrived');
$_->quit foreach $early, $old;

# --- kept plans ----------------------------------------------------------------------

my $before = $node->sql('SELECT count(*) FROM capi.request');
cmp_ok($before, '>', 3, 'requests were logged');
$node->sql('DROP EXTENSION capi');
$node->install_capi;
$node->attach;
deliver(3);
is($node->sql('SELECT count(*) FROM capi.request'), 1, 'P12: the same session logs into an extension made anew');
is($node->sql("SELECT count(*) FROM capi.delivery WHERE outcome = 'delivered'"), 3, 'and delivers');
$node->sql('ALTER TABLE capi.request ADD COLUMN note text');
deliver(3);
is($node->sql('SELECT count(*) FROM capi.request'), 2, 'P12: and into a table that has changed');

# --- keys of several sources -------------------------------------------------------

$node->attach(source => 'leads', event_name => 'Lead');
my $delivered = $node->sql("SELECT string_agg(key, ', ') FROM capi.delivery");
capture_again("id IN ($delivered)");
$session->sql('CALL capi.deliver()');
is($node->sql("SELECT string_agg(format('%s %s', event_name, n), ', ' ORDER BY event_name) FROM"
	  . ' (SELECT event_name, count(*) AS n FROM capi.delivery GROUP BY event_name) e'),
	'Lead 6, Purchase 6', 'P5: one source knows an order, another does not');

$session->quit;
$node->stop;
done_testing();
