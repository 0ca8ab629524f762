# P3, P4 and P12: pg_upgrade.  The new cluster takes everything along, sends
# nothing while it is made, and after confirm_identity() exactly what waits.
#
# From a server like the new one; or from an older one that has capi, in the
# folder CAPI_OLD_SERVER, as ci/matrix -u does.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $old = CapiTest::Node->create('old', sandbox => $sandbox, server => $ENV{CAPI_OLD_SERVER});
my ($major) = `pg_config --version` =~ /(\d+)/;
my $new = CapiTest::Node->create('new', sandbox => $sandbox, start => 0,
	# 18 has checksums unless told otherwise, and both must agree
	$major >= 18 && $old->sql('SHOW data_checksums') eq 'off' ? (init => [ no_data_checksums => 1 ]) : ());
note('from ' . $old->sql('SHOW server_version') . " to $major");
$old->install_capi;
$old->attach;
$old->pay($old->place_orders(20));
$old->wait_until_idle;
my @waiting = $old->place_orders(4);
$old->sql("SELECT capi.pause('paid_orders')");
$old->pay(@waiting[ 0 .. 1 ]);
$old->wait_for('SELECT count(*) = 2 FROM capi.backlog') or die;
$old->change('capi.enabled' => 'off');
$old->wait_for("SELECT state = 'disabled' FROM capi.health") or die;
$old->pay(@waiting[ 2 .. 3 ]);
$old->sql("SELECT capi.resume('paid_orders')");
$old->stop;

my ($old_bin, $new_bin) = map { $_->config_data('--bindir') } $old, $new;
chdir $new->basedir or die;
command_ok(
	[ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bin, '-B', $new_bin, '-s', $new->host,
		'-p', $old->port, '-P', $new->port ],
	'P12: pg_upgrade');
my $log = -e $new->logfile ? $new->log_size : 0;
my $requests = $sandbox->stats->{requests};
$new->start;
$new->dispatcher_pid;
ok($new->wait_for("SELECT state = 'held_identity' FROM capi.health"), 'P4: the new cluster does not know whether it is the one that sends');
is($new->sql('SELECT status, count(*) FROM capi.delivery_status GROUP BY 1 ORDER BY 1'), "delivered|20\nqueued|4",
	'P10: it has taken everything along');
is($sandbox->stats->{requests}, $requests, 'P4: it has sent nothing');
$new->sql('SELECT capi.confirm_identity()');
$new->wait_until_idle;
$new->deliveries_ok('P3 P5: once confirmed it sends what waited');
$new->pay($new->place_orders(5));
$new->wait_until_idle;
$new->deliveries_ok('P3: and goes on');
unlike($new->log_since($log), qr/ERROR|PANIC/, 'P12: without an error');

done_testing();
