# P10: the server's log and diagnose() say what has changed, once.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => 'max_logical_replication_workers = 0');

$node->install_capi;
$node->attach;
$node->dispatcher_pid;

sub said
{
	my ($from, $text) = @_;

	return scalar(() = $node->log_since($from) =~ /$text/g);
}

# --- a source ----------------------------------------------------------------------

my $log = $node->log_size;
$node->sql('ALTER TABLE shop.orders RENAME COLUMN email TO mail');
$node->sql("INSERT INTO shop.orders (total, mail, status, paid_at) VALUES (7, 'seven\@example.com', 'paid', now())");
ok($node->wait_for("SELECT state = 'broken' FROM capi.source_status"), 'P2: a source breaks');
$node->sql("INSERT INTO shop.orders (total, mail, status, paid_at) VALUES (7, 'seven\@example.com', 'paid', now())");
# it is tried again, and again
$node->wait_for("SELECT count(*) = 0 FROM capi._queued") or die;
$node->reload;
my $other = $node->dispatcher_pid;
is(said($log, 'source "paid_orders" of database "shop" is broken'), 1, 'P10: the log says so, once');
unlike($node->log_since($log), qr/seven\@/, 'P7: and no value');
$node->sql('ALTER TABLE shop.orders RENAME COLUMN mail TO email');
ok($node->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE status = 'delivered'"), 'P2: it is mended');
is(said($log, 'source "paid_orders" of database "shop" is no longer broken'), 1, 'P10: the log says that, too');

# --- no reader ---------------------------------------------------------------------

$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
$log = $node->log_size;
foreach my $time (1 .. 2)
{
	my @ids = $node->place_orders(2);

	$node->pay(@ids);
	ok($node->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE reason ~ 'max_worker_processes' AND order_key IN ('" . join("', '", @ids) . "')"),
		'P10: orders wait for a reader');
}
is(said($log, 'no reader can be started for database "shop"'), 1, 'P10: the log says so, once');
like($node->log_since($log), qr/no reader can be started.*HINT:  Raise max_worker_processes/s, 'P10: and what to do');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
ok($node->wait_for("SELECT count(*) = 6 FROM capi.delivery_status WHERE status = 'delivered'"), 'P3: with one they go');

# --- capi.enabled --------------------------------------------------------------------

sub diagnosed { return $node->sql(q{SELECT ok, detail, hint FROM capi.diagnose() WHERE "check" = 'enabled'}) }
sub health { return $node->sql('SELECT state FROM capi.health') }
sub becomes { return $node->wait_for(q{SELECT ok = } . $_[0] . q{ AND detail ~ 'dispatcher' FROM capi.diagnose() WHERE "check" = 'enabled'}) }

becomes('true') or die;
is($node->sql("SET capi.enabled = off; SELECT state FROM capi.health"), 'ok', "P10: a session's own capi.enabled says nothing");
my $super = $node->sql('SELECT current_user');
my $now = 'SELECT pg_reload_conf()';
foreach my $case (
	[ 'ALTER DATABASE shop SET capi.enabled = off', 'ALTER DATABASE shop RESET capi.enabled;' ],
	[ "ALTER ROLE $super SET capi.enabled = off", "ALTER ROLE $super RESET capi.enabled;" ],
	[ "ALTER ROLE $super IN DATABASE shop SET capi.enabled = off", "ALTER ROLE $super IN DATABASE shop RESET capi.enabled;" ],
	[ 'ALTER ROLE ALL SET capi.enabled = off', 'ALTER ROLE ALL RESET capi.enabled;' ],
	[ 'ALTER SYSTEM SET capi.enabled = off', 'ALTER SYSTEM SET capi.enabled = on; SELECT pg_reload_conf();' ])
{
	my ($off, $on) = @$case;

	$node->sql($off);
	$node->sql($now);
	ok(becomes('false'), "P10: diagnose() sees $off");
	is(diagnosed(), "f|capi.enabled is off in the dispatcher.|$on", 'P10: and says what to do');
	is($node->sql("SET capi.enabled = on; SELECT state FROM capi.health"), 'disabled', 'P10: health sees it, too');
	$node->safe_psql('shop', $_) foreach split /; ?/, $on;
	$node->sql($now);
	ok(becomes('true'), "P10: $on cures it");
}
$node->pay($node->place_orders(1));
ok($node->wait_for("SELECT count(*) = 7 FROM capi.delivery_status WHERE status = 'delivered'"), 'P3: and orders go');

# who has no dispatcher asks for himself
$node->change('capi.databases' => '');
$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
is($node->sql(q{SET capi.enabled = off; SELECT detail, hint FROM capi.diagnose() WHERE "check" = 'enabled'}),
	'capi.enabled is off.|RESET capi.enabled;', 'P10: without a dispatcher it is the session that counts');

done_testing();
