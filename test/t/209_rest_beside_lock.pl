# P3: a rest that a clock ahead made long ends when the clock is right, also when
# somebody had a lock on a table of capi's as the dispatcher started.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'elsewhere', conf => "capi.poll_interval = '100ms'");
my $holder = $node->session;

$node->install_capi;
$node->attach;
$node->sql("INSERT INTO capi.dataset_state AS s (dataset_id, rest_until, throttled) SELECT id, now() + interval '2 days', true FROM capi.dataset"
	  . " ON CONFLICT (dataset_id) DO UPDATE SET rest_until = excluded.rest_until, throttled = true");
$holder->sql('BEGIN; LOCK TABLE capi.context IN SHARE MODE');
$node->change('capi.databases' => 'shop');
$node->pay($node->place_orders(1));
ok($node->wait_for("SELECT count(*) = 1 FROM capi.backlog"), 'the order waits for its dataset');
$holder->sql('COMMIT');
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery WHERE outcome = 'delivered'", 15), 'and is sent when the lock is gone')
  or diag($node->sql('SELECT rest_until FROM capi.dataset_state'));
$holder->quit;

done_testing();
