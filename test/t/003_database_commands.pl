# P12: what administrators do to a database while a request hangs at the
# endpoint, and P4: a copy sends nothing.
# slow
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	databases => 'shop, copy, renamed, gone',
	conf => "capi.request_timeout = '10min'\ncapi.poll_interval = '10s'");
my $copy = $node->in_database('copy');
my $renamed = $node->in_database('renamed');
my $repeats = 0;
my ($log, $began);

$node->install_capi;
$node->attach;

# A statement as superuser, outside of the shop's database, and that it is quick.
sub quick_ok
{
	my ($sql, $name) = @_;

	$began = time;
	my ($status, $out, $err) = $node->psql('postgres', $sql);
	is($err, '', "P12: $name");
	cmp_ok(time - $began, '<', 5, "P12: $name does not wait for the answer");
	return;
}

# Lets what hangs go, and looks whether the shop got all, with its repeats.
sub goes_on_ok
{
	my ($shop, $name) = @_;

	$sandbox->release;
	$shop->pay($shop->place_orders(1));
	$shop->wait_until_idle;
	$shop->deliveries_ok("P3: after $name", max_repeats => $repeats);
	return;
}

# --- CREATE DATABASE ... TEMPLATE --------------------------------------------

$node->pay($node->place_orders(20));
$node->wait_until_idle;
my @hung = $node->hang(5);
$repeats += @hung;
my $waiting = $node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued'");
is($waiting, 5, 'five events are under way');
quick_ok('CREATE DATABASE copy TEMPLATE shop', 'CREATE DATABASE ... TEMPLATE');
goes_on_ok($node, 'CREATE DATABASE ... TEMPLATE');

# the copy is listed and has a dispatcher, which does nothing
$copy->dispatcher_pid;
my $requests = $sandbox->stats->{requests};
my @copied = $copy->place_orders(3);
$copy->pay(@copied);
$copy->sql('SELECT capi._config_changed()');
$copy->wait_for("SELECT wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = " . $copy->dispatcher_pid) or die;
is($copy->sql('SELECT state FROM capi.health'), 'held_identity', 'P4: health calls the copy a copy');
like($copy->sql(q{SELECT detail FROM capi.diagnose() WHERE "check" = 'identity' AND NOT ok}),
	qr/sends nothing/, 'P4: diagnose() says that it sends nothing');
like($copy->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'identity' AND NOT ok}),
	qr/confirm_identity/, 'P4: and what to do');
is($copy->sql("SELECT status, count(*) FROM capi.delivery_status GROUP BY 1 ORDER BY 1"),
	"delivered|20\nqueued|8", 'P10: what waits in the copy is what was under way and its own');
is($sandbox->stats->{requests}, $requests, 'P4: the copy sends nothing');

# in the copy it is another dataset, so that what it sends can be told apart
$copy->sql("SELECT capi.alter_dataset(name => 'main', dataset_id => '777')");
$copy->sql('SELECT capi.confirm_identity()');
$copy->wait_until_idle;
is(join(' ', sort { $a <=> $b } map { $_->{event_id} } $sandbox->events(dataset => '777')),
	join(' ', @hung, @copied), 'P4: once confirmed it sends exactly what waits');
is($copy->sql(q{SELECT ok FROM capi.diagnose() WHERE "check" = 'identity'}), 't', 'P10: diagnose() is content');

# the dispatcher sees it at the commit, not at its next poll
my $late = 0;
foreach my $round (1 .. 12)
{
	$copy->sql('UPDATE capi.state SET database_oid = 1; SELECT capi._config_changed()');
	$copy->pay($copy->place_orders(2));
	$copy->sql("SELECT capi.alter_dataset(name => 'main', events_per_hour => 100000)");
	$copy->sql('SELECT capi.confirm_identity()');
	$began = time;
	$copy->wait_until_idle;
	$late++ if time - $began > 5;
}
is($late, 0, 'P12: confirmed twelve times, twelve times seen at once');
is($copy->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered'"), 52,
	'P3: and it goes on, each order once');
$node->deliveries_ok('P4: the shop itself is untouched', max_repeats => $repeats);

# --- commands that need the database for themselves ----------------------------

$repeats += $node->hang(3);
$log = $node->log_size;
quick_ok('ALTER DATABASE shop RENAME TO renamed', 'ALTER DATABASE ... RENAME');
goes_on_ok($renamed, 'RENAME');
ok($renamed->dispatcher_runs, 'P12: the dispatcher is that of the new name');
unlike($node->log_since($log), qr/ERROR|PANIC/, 'P12: no error in the log');
quick_ok('ALTER DATABASE renamed RENAME TO shop', 'ALTER DATABASE ... RENAME, back');
goes_on_ok($node, 'RENAME back');

mkdir $node->basedir . '/space' or die;
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '" . $node->basedir . "/space'");
$repeats += $node->hang(3);
quick_ok('ALTER DATABASE shop SET TABLESPACE space', 'ALTER DATABASE ... SET TABLESPACE');
goes_on_ok($node, 'SET TABLESPACE');

# the same while the query of a source runs
my $query = $node->sql("SELECT query FROM capi.source");
$node->sql("CREATE FUNCTION shop.doze() RETURNS text LANGUAGE sql AS"
	  . " \$\$ SELECT pg_sleep(60)::text WHERE current_database() = 'shop' \$\$", 'shop_owner');
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$"
	  . $query =~ s/SELECT o.id AS key/SELECT o.id AS key, shop.doze() AS client_ip_address/r . "\$q\$)", 'shop_owner');
$node->pay($node->place_orders(1));
$node->wait_for("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE backend_type = 'capi reader'") or die;
quick_ok('ALTER DATABASE shop RENAME TO renamed', 'ALTER DATABASE ... RENAME during a query');
is($renamed->sql('SELECT state FROM capi.source_status'), 'active', 'P6: the source is not called broken for it');
$renamed->sql("SELECT capi.alter_source('paid_orders', query => \$q\$$query\$q\$)", 'shop_owner');
goes_on_ok($renamed, 'RENAME during a query');
quick_ok('ALTER DATABASE renamed RENAME TO shop', 'ALTER DATABASE ... RENAME, back');

# a command that fails lets the dispatcher come back
my $session = $node->session;
my $pid = $node->dispatcher_pid;
my ($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE shop');
like($err, qr/is being accessed by other users/, 'P12: a session in the way is still in the way');
like($err, qr/There is 1 other session/, 'P12: it alone');
$session->quit;
$node->dispatcher_pid($pid);
goes_on_ok($node, 'a DROP DATABASE that failed');

# nobody stops a dispatcher by trying
$pid = $node->dispatcher_pid;
($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE shop', extra_params => [ '-U', 'shop_app' ]);
like($err, qr/must be owner/, 'P9: DROP DATABASE by somebody else');
($status, $out, $err) = $node->psql('postgres', 'CREATE DATABASE stolen TEMPLATE shop', extra_params => [ '-U', 'shop_app' ]);
like($err, qr/permission denied/, 'P9: CREATE DATABASE by somebody without the right');
($status, $out, $err) = $node->psql('postgres', 'BEGIN; DROP DATABASE shop');
like($err, qr/cannot run inside a transaction block/, 'P12: DROP DATABASE in a transaction');
is($node->dispatcher_pid, $pid, 'P9: none of them stops the dispatcher');

# --- shutdown ----------------------------------------------------------------

$repeats += $node->hang(4);
$began = time;
$node->stop('fast');
cmp_ok(time - $began, '<', 5, 'P12: a fast shutdown does not wait for the answer');
$node->start;
goes_on_ok($node, 'a fast shutdown');

# --- DROP DATABASE -----------------------------------------------------------

$copy->hang(2);
$log = $node->log_size;
quick_ok('DROP DATABASE copy', 'DROP DATABASE');
quick_ok('CREATE DATABASE gone TEMPLATE shop', 'CREATE DATABASE ... TEMPLATE, again');
my $gone = $node->in_database('gone');
$gone->sql('SELECT capi.confirm_identity()');
$gone->sql("SELECT capi.alter_dataset(name => 'main', dataset_id => '888')");
$gone->hang(2);
$session = $gone->session;
quick_ok('DROP DATABASE gone WITH (FORCE)', 'DROP DATABASE ... WITH (FORCE)');
$sandbox->release;
unlike($node->log_since($log), qr/ERROR|PANIC|WARNING/, 'P12: no error and no warning in the log');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
$node->deliveries_ok('P12: the others go on', max_repeats => $repeats);

done_testing();
