# P6: an attach that is cancelled while its reader starts leaves no reader behind,
# which would keep a worker slot as long as the session lasts.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Points;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $points = CapiTest::Points->new($node);
my $session = $node->session(role => 'shop_owner');

$node->install_capi;
$points->want('a reader was registered');
$session->send("SELECT capi.attach('paid_orders', 'shop.orders', 'main', 'Purchase', 'SELECT id AS key, paid_at AS event_time, total AS value, currency, email AS em FROM shop.orders')");
my $pid = $points->stopped or die;
$node->sql("SELECT pg_cancel_backend($pid)");
$session->answer;
$points->let_go;
is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 1, 'the session goes on');
is($node->sql("SELECT count(*) FROM capi.source"), 0, 'without its source');
ok($node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi reader'", 20), 'and without a reader');
$session->quit;

done_testing();
