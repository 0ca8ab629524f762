# P3, P5: the server's clock is set forward and back while orders wait, rest and
# are sent.  Nothing is lost or repeated, and nothing waits for a time that was
# reckoned with another clock.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::World;

my $sandbox = CapiTest::Sandbox->new;
my $world = CapiTest::World->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0,
	conf => "capi.poll_interval = '300ms'\ncapi.request_timeout = '2s'");

$world->start($node);
$node->create_shop;
$node->install_capi;
$node->attach;
$node->pay($node->place_orders(3));
$node->wait_until_idle;

# Of the shop's clock, which is right, unless the server would take it for the future.
sub pay_now
{
	my @ids = $node->place_orders($_[0]);

	$node->sql("UPDATE shop.orders SET status = 'paid', paid_at = least(now(), to_timestamp(" . int(time) . ')) WHERE id IN ('
		  . join(', ', @ids) . ')', 'shop_app');
	return @ids;
}

foreach my $set ([ 'an hour forward', 3600 ], [ 'back again', 0 ])
{
	my ($name, $clock) = @$set;

	# some rest after a failure, some are about to be captured
	$sandbox->misbehave(status => 503, times => undef);
	pay_now(3);
	ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE status = 'retrying'"), "$name: orders rest");
	$world->set(clock => $clock);
	$sandbox->behave;
	my $began = time;
	pay_now(3);
	$node->wait_until_idle(30);
	cmp_ok(time - $began, '<', 20, "$name: they do not wait for another clock");
	$node->deliveries_ok("P3 P5: $name");
}

done_testing();
