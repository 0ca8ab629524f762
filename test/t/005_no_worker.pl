# P12: a server that has no background worker to spare for a dispatcher.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "max_worker_processes = 1\nmax_logical_replication_workers = 0");

ok($node->wait_for_log(qr/no background worker is free for the capi dispatcher of database "shop".*HINT:  Raise max_worker_processes/s),
	'P12: the log says so, and what to do');
$node->install_capi;
$node->attach;
my $before = $node->log_size;
$node->pay($node->place_orders(5));
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued'"), 5, 'P3: orders are captured');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'dispatcher' AND NOT ok}), qr/max_worker_processes/,
	'P10: diagnose() says what to do');
$node->reload;    # another try
$node->sql('CALL capi.deliver()');
$node->deliveries_ok('P3: and deliver() works');
unlike($node->log_since($before), qr/no background worker is free/, 'P12: the log says it once');

done_testing();
