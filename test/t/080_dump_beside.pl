# P3 and P12: the real pg_dump, slowed by who reads from it.  It locks the tables
# of an extension only when it copies them, long after its snapshot: what that
# snapshot sees is there until then.
use strict;
use warnings;

use IPC::Run;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop, restored',
	conf => "capi.poll_interval = '200ms'");
my $restored = $node->in_database('restored', dataset_id => '222');
$node->install_capi;
$node->attach;

# more than pipes and sockets hold, and before capi in the order of a dump
$node->sql(q{
CREATE SCHEMA aaa; CREATE TABLE aaa.large AS SELECT n, repeat(md5(n::text), 100) AS text FROM generate_series(1, 20000) n});

# Rows of no source, which need nothing but to be read; until the present segment
# is left.
sub turn
{
	my $segment = $node->sql('SELECT segment FROM capi.state');

	$node->sql("INSERT INTO capi.queue_$segment SELECT pg_current_xact_id(), now(), 999999, NULL, repeat('x', 900)"
		  . ' FROM generate_series(1, 2500)');
	return $node->wait_for("SELECT segment <> $segment FROM capi.state", 30);
}

my $queue_size = "SELECT sum(pg_relation_size('capi.queue_' || n)) FROM generate_series(0, 3) n";

# --- orders that are unread when the dump begins -----------------------------------

$node->sql("SELECT capi.pause('paid_orders')");
$node->change('capi.enabled' => 'off');
$node->wait_for("SELECT state = 'disabled' FROM capi.health") or die;
my $waiting = 15000;
$node->sql("INSERT INTO shop.orders (total, email, status, paid_at)"
	  . " SELECT 1, 'one\@example.com', 'paid', now() FROM generate_series(1, $waiting)", 'shop_app');

my ($dump, $messages) = ('', '');
my $dumper = IPC::Run::start([ 'pg_dump', '-d', $node->connstr('shop') ], '>pipe', \*OUT, '2>', \$messages);
ok($node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'COPY aaa%'"),
	'pg_dump has its snapshot, and waits for its reader');
is($node->sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
	  . " WHERE a.query LIKE 'COPY aaa%' AND l.relation = 'capi.queue_0'::regclass"), 0,
	'it has no lock on the queue');

# --- which then move on -------------------------------------------------------------

$node->change('capi.enabled' => 'on');
ok($node->wait_for("SELECT count(*) = $waiting FROM capi.backlog"), 'meanwhile they move to the backlog');
$node->sql("SELECT capi.resume('paid_orders')");
ok(turn(), "P12: beside a dump the queue turns, $_") foreach 1 .. 8;
$node->wait_until_idle;
cmp_ok($node->sql($queue_size), '<', 13_000_000,
	'P12: segments that were filled after the snapshot are emptied beside it');

{
	local $/ = undef;
	$dump = <OUT>;
}
close OUT;
ok($dumper->finish, 'the dump ends') or diag($messages);
ok($node->wait_for("SELECT ($queue_size) < 4000000", 30), 'P12: after it, space comes back');
$node->deliveries_ok('P3: the shop has noticed nothing');

# --- and are in it ------------------------------------------------------------------

my $file = $node->basedir . '/shop.sql';
append_to_file($file, $dump);
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $file ],
	'it can be restored');
is($restored->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued'"), $waiting,
	'P3: with every order that waited at its snapshot');

# --- events of capi.send() -----------------------------------------------------------

done_testing();
