# Deaths in mid-request: of the dispatcher, of the server.  Afterwards the set
# received equals the set committed, and no more is repeated than was in flight.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;

# The endpoint takes the events, but the answer never arrives.
sub hang_with
{
	my ($count) = @_;

	$sandbox->misbehave(hang => JSON::PP::true(), accept => JSON::PP::true());
	$node->pay($node->place_orders($count));
	ok($sandbox->wait_for(hanging => 1), "a request with $count events hangs");
	return;
}

my $in_flight = 0;

hang_with(10);
$in_flight += 10;
kill 'KILL', $node->dispatcher_pid;
$node->poll_query_until('postgres', 'SELECT 1', '1') or die;
$sandbox->release;
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: kill -9 of the dispatcher', max_repeats => $in_flight);

hang_with(20);
$in_flight += 20;
$node->stop('immediate');
$sandbox->release;
$node->start;
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: immediate shutdown of the server', max_repeats => $in_flight);

# a clean shutdown does not wait for the endpoint (P12)
hang_with(5);
$in_flight += 5;
my $begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 10, 'P12: a fast shutdown does not wait for the answer');
$sandbox->release;
$node->start;
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: fast shutdown', max_repeats => $in_flight);

# outcomes that were recorded are not sent again by a restart
my $before = $node->repeats;
$node->pay($node->place_orders(500));
$node->wait_until_idle;
$node->stop('immediate');
$node->start;
$node->pay($node->place_orders(1));
$node->wait_until_idle;
is($node->repeats, $before, 'P5: nothing known is sent again after a crash');
$node->deliveries_ok('P5: restart', max_repeats => $in_flight);

# an order that was ignored is looked at again when it is captured again, not
# when the queue is read again, however far back
my ($order) = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET is_test = true WHERE id = $order");
$node->pay($order);
$node->wait_until_idle;
$node->sql("UPDATE shop.orders SET is_test = false WHERE id = $order");
$node->change('capi.databases' => '');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'")
  or die;
$node->sql("UPDATE capi.state SET snapshot = '1:1:'");
$node->pay($node->place_orders(1));
$node->change('capi.databases' => 'shop');
$node->wait_until_idle;
is($node->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$order'"), 'ignored|test order',
	'P5: an ignored order is not looked at again because of a restart');
$node->sql("UPDATE shop.orders SET status = 'pending' WHERE id = $order; " . $node->pay_statement($order));
$node->wait_until_idle;
$node->deliveries_ok('P5: and is when it is captured again', max_repeats => $in_flight);

done_testing();
