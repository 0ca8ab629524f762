# Events that are refused one and all, each for another reason than the last: the
# dataset stops before memory is full of suspects, and rejects nobody.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '10min'");

$node->install_capi;
$node->attach;
my @ids = $node->place_orders(300);
$sandbox->post('misbehave', [ map { { code => 100, subcode => 1_000_000 + $_, message => '(#100) Missing Permission',
	times => undef, match => { event_id => "$_" } } } @ids ]);
$node->pay(@ids);
ok($node->wait_for("SELECT state = 'refused' FROM capi.health", 30), 'the dataset stops');
like($node->sql('SELECT reason FROM capi.health'), qr{^every event is refused: error 100/}, 'it says why');
ok($node->wait_for("SELECT count(*) = 300 FROM capi.delivery_status WHERE status IN ('queued', 'retrying') AND reason IS NOT NULL"),
	'P3: all wait, none is rejected');
cmp_ok($sandbox->stats->{requests}, '<', 300, 'P12: after some of them');
$sandbox->behave;
$node->wait_until_idle;
$node->deliveries_ok('when it is in order');
$node->stop;
done_testing();
