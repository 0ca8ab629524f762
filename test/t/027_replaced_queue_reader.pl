# P3, P5: what reads the queue is replaced while orders are under way (the
# database became a copy and is none again): none is lost, none sent twice.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->sql(q{
CREATE TABLE shop.gate (is_open boolean);
INSERT INTO shop.gate VALUES (true);
CREATE FUNCTION shop.pass() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    WHILE NOT (SELECT is_open FROM shop.gate) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN NULL;
END $$}, 'shop_owner');
$node->attach(query => q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em, shop.pass() AS content_name,
       'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent FROM shop.orders o});
my $pid = $node->dispatcher_pid;
my $mine = $node->sql('SELECT system_identifier FROM capi.state');

# Makes the dispatcher look at its configuration, and waits until it has.
sub look
{
	my $now = $node->sql('SELECT clock_timestamp()');

	$node->sql("SELECT capi.alter_source('paid_orders')", 'shop_owner');
	$node->wait_for("SELECT state_change > '$now' AND state = 'idle' FROM pg_stat_activity WHERE pid = $pid") or die;
	return;
}

sub become_copy
{
	$node->sql("UPDATE capi.state SET system_identifier = 'another'");
	$node->reload;
	look();
	return;
}

sub be_itself
{
	$node->sql("UPDATE capi.state SET system_identifier = '$mine'");
	$node->reload;
	look();
	return;
}

# --- what the one before emitted counts for nobody else's order -----------------

my ($before) = $node->hang(1);
$sandbox->behave;
become_copy();
be_itself();
# so that there were as many passes as there had been by then
foreach my $n (1 .. 15)
{
	my ($id) = $node->place_orders(1);

	$node->pay($id);
	$node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE status = 'delivered' AND order_key = '$id'") or die;
}
$node->sql('UPDATE shop.gate SET is_open = false', 'shop_owner');
my ($waiting) = $node->place_orders(1);
$node->pay($waiting);
$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'capi reader' AND wait_event = 'PgSleep'") or die;
$sandbox->release;
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE status = 'delivered' AND order_key = '$before'"), 'P3: it is answered');
# a dispatcher that begins anew has saved how far the queue is done with
$node->sql('ALTER DATABASE shop SET seq_page_cost = 2');
$node->reload;
$pid = $node->dispatcher_pid($pid);
$node->sql('UPDATE shop.gate SET is_open = true', 'shop_owner');
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE status = 'delivered' AND order_key = '$waiting'", 20),
	'P3: the order that was being read meanwhile is not lost');
$node->wait_until_idle;
$node->deliveries_ok('P3: replaced once');

# --- requests under way ----------------------------------------------------------

foreach my $round (1 .. 3)
{
	my @ids = $node->hang(5);

	become_copy();
	my @later = $node->place_orders(3);
	$node->pay(@later);
	look();
	is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('" . join("', '", @later) . "')"),
		0, "P4: round $round: a copy sends nothing");
	be_itself();
	$sandbox->behave;
	$sandbox->release if $round > 1;
	ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('" . join("', '", @later) . "')"),
		"P3: round $round: what came meanwhile is delivered");
	$sandbox->release;
	ok($node->wait_until_idle, "P3: round $round: all is done");
	$node->deliveries_ok("P3: round $round");
}
is($node->dispatcher_pid, $pid, 'P6: all by the same process');

# the cursor has passed each of them
ok($node->wait_for('SELECT count(*) = 0 FROM capi._queued'), 'P3: the queue is read to its end');
$node->restart;
$node->pay($node->place_orders(2));
$node->wait_until_idle;
$node->deliveries_ok('P5: after a restart');

done_testing();
