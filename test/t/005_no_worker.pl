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
my ($status, $out, $err) = $node->psql('shop', 'CALL capi.deliver()');
like($err, qr/no reader could be started.*max_worker_processes/s, 'P10: deliver() cannot start a reader either, and says so');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued' AND reason ~ 'max_worker_processes'"), 5,
	'P10: delivery_status says why they wait');
is($node->sql("SELECT state FROM capi.health"), 'no_reader', 'P10: so does health');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'readers' AND NOT ok}), qr/max_worker_processes/,
	'P10: and diagnose()');
unlike($node->log_since($before), qr/no background worker is free/, 'P12: the log says it once');


# with one to spare a session can read, and a dispatcher none
$node->append_conf('postgresql.conf', "max_worker_processes = 2");
$node->restart;
$node->dispatcher_pid;
ok($node->wait_for("SELECT count(*) = 5 FROM capi.delivery_status WHERE reason ~ 'max_worker_processes'"), 'P3: a dispatcher without a reader');
$node->change('capi.databases' => '');
$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'");
$node->sql('UPDATE capi.backlog SET next_attempt_at = now()');
$node->sql('CALL capi.deliver()');
$node->deliveries_ok('P3: with a worker to spare deliver() works');
is($node->sql(q{SELECT count(*) FROM capi.diagnose() WHERE "check" = 'readers' AND NOT ok}), 0, 'P10: and all is well');

done_testing();
