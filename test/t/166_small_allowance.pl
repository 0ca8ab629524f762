# A dataset that may send few events per hour: one that is answered without an
# explanation holds up the others for a few hours' worth, and not for good.
# slow
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::World;

my $world = CapiTest::World->new;
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0, conf => "capi.poll_interval = '100ms'\ncapi.stats_interval = 0");
$world->start($node);
$node->create_shop;
$node->install_capi;
$node->attach;

my $ahead_s = 0;

# What is allowed in the time is sent; true when it was the last that can be.
sub go_on
{
	my ($seconds, @good) = @_;
	my $requests = $sandbox->stats->{requests};
	my $all_sent = "SELECT count(*) = " . @good . " FROM capi.delivery_status WHERE status = 'delivered'"
	  . " AND order_key IN ('" . join("', '", @good) . "')";

	$ahead_s += $seconds;
	$world->set(clock => $ahead_s);
	$sandbox->post('clock', { offset_s => $ahead_s });
	$sandbox->wait_for(requests => $requests + 1, timeout_s => 10);
	return $node->wait_for($all_sent, 1);
}

foreach my $case ([ 1, 2, 2 * 3600 ], [ 3, 5, 25 * 60 ])
{
	my ($per_hour, $count, $step_s) = @$case;
	my ($bad, @good) = $node->place_orders($count + 1);
	my $steps = 0;

	$sandbox->misbehave(status => 400, html => JSON::PP::true(), match => { event_id => "$bad" }, times => undef);
	$node->sql("SELECT capi.alter_dataset('main', events_per_hour => $per_hour)");
	# the oldest, so that it is the first whenever something may be sent
	$node->pay($bad);
	ok($node->wait_for("SELECT reason IS NOT NULL FROM capi.delivery_status WHERE order_key = '$bad'"), 'one that is not understood');
	$node->pay(@good);
	$steps++ until go_on($step_s, @good) || $steps == 12;
	cmp_ok($steps, '<', 12, "P6: $per_hour per hour: the others are sent, after $steps times");
	is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$bad'"), 'retrying', 'and the one waits');
	$sandbox->behave;
	go_on(2 * 3600, @good, $bad) foreach 1 .. 3;
	is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$bad'"), 'delivered', 'P3: until it is delivered');
}
$node->deliveries_ok('P3: every order');
$node->stop;
done_testing();
