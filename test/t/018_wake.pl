# The dispatcher is woken by orders, not by its poll: no order that commits at
# whatever moment of its turn is left lying (P3), and a burst does not wake it
# for each.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '1h'");
$node->install_capi;
$node->attach;
my $app = $node->session(role => 'shop_app');
my $sale = "INSERT INTO shop.orders (total, email, status, paid_at) VALUES (2, 'one\@example.com', 'paid', now());";

foreach my $linger ('0', '30ms')
{
	my $late = 0;

	$node->change('capi.linger' => $linger);
	foreach my $burst (1 .. 40)
	{
		# from one order to a dozen, so that the last falls into any phase
		$app->sql(join('', ($sale) x (1 + $burst * 7 % 12)));
		$late++ unless $node->wait_for('SELECT count(*) = (SELECT count(*) FROM shop.orders) FROM capi.delivery', 20);
	}
	is($late, 0, "P3: linger $linger: after each burst everything is sent, without the poll");
	$node->deliveries_ok("P3: linger $linger");
}

# while an event lingers, others join it and wake nobody
$node->change('capi.linger' => '2s');
my $before = $sandbox->stats->{requests};
$app->sql($sale) for 1 .. 50;
ok($node->wait_for('SELECT count(*) = (SELECT count(*) FROM shop.orders) FROM capi.delivery', 20), 'P3: linger 2s');
cmp_ok($sandbox->stats->{requests} - $before, '<=', 2, 'orders of the same moment share a request');

# not sending is no reason to be woken, and sending again finds what came
$node->change('capi.enabled' => 'off');
$app->sql($sale) for 1 .. 5;
$node->change('capi.linger' => '0');
$node->change('capi.enabled' => 'on');
ok($node->wait_for('SELECT count(*) = (SELECT count(*) FROM shop.orders) FROM capi.delivery', 20), 'P3: enabled again');
$node->deliveries_ok('P5: once');

done_testing();
