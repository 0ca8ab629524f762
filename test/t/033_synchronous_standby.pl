# P4 and P12: commits that wait for a standby.  The order is not there for
# anybody before the standby has it, and the dispatcher waits for none.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, init => [ allows_streaming => 1 ],
	conf => "capi.poll_interval = '100ms'");
$node->install_capi;
$node->attach;

# from now on a standby is missing that everybody waits for
my @ids = $node->hang(3);
my $app = $node->session(role => 'shop_app');
$node->change(synchronous_standby_names => 'nobody');
$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'") or die;
$app->send("INSERT INTO shop.orders (total, email, status, paid_at) VALUES (7, 'seven\@example.com', 'paid', now())");
$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or die;

$sandbox->release;
ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE status = 'delivered'", 10),
	'P12: the dispatcher records outcomes without the standby');
is($node->sql("SELECT count(*) FROM shop.orders WHERE total = 7"), 0, 'the order is not there');
is($sandbox->stats->{distinct_events}, 3, 'P4: and not reported');
ok(!$app->answered, 'its commit waits');
is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'capi dispatcher' AND wait_event = 'SyncRep'"), 0,
	'P12: the dispatcher does not');

# the standby gives word, or somebody stops waiting for it
$node->change(synchronous_standby_names => '');
is($app->answer, '', 'its commit returns');
$sandbox->wait_for(distinct_events => 4) or die;
$node->wait_until_idle;
$node->deliveries_ok('P3: then it is reported');

done_testing();
