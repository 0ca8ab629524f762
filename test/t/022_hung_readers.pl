# P6, P12: a reader that nothing can stop costs its role the next one, whoever
# would start it, and nobody else anything.
use strict;
use warnings;

use Fcntl qw(O_WRONLY O_NONBLOCK);
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0, conf => qq{
capi.query_timeout = '1s'
capi.readers = 3
max_worker_processes = 16});
my $pipe = $node->data_dir . '/pipe';
my $columns = q{b.id AS key, b.at AS event_time, 10 AS value, 'EUR' AS currency, b.id AS order_id,
       'bad-' || b.id AS event_id, '203.0.113.7' AS client_ip_address, 'test agent' AS client_user_agent, 'b@example.com' AS em};
my $hanging = "SELECT $columns, pg_catalog.pg_read_file('pipe') AS content_name FROM bad.orders b";
my $readers = "pg_stat_activity WHERE backend_type = 'capi reader'";

# whoever opens it to read waits in the kernel for one who writes, past all signals
mkfifo($pipe, 0600) or die "cannot make a pipe: $!";
chown((stat $node->data_dir)[ 4, 5 ], $pipe);

$node->install_capi;
$node->attach;
$node->sql('CREATE ROLE tenant LOGIN; CREATE SCHEMA bad AUTHORIZATION tenant; GRANT USAGE ON SCHEMA bad TO shop_app;
	GRANT EXECUTE ON FUNCTION pg_read_file(text) TO tenant');
$node->sql("SELECT capi.grant_access('tenant', 'admin')");
$node->sql('CREATE TABLE bad.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now());
	GRANT INSERT, SELECT ON bad.orders TO shop_app', 'tenant');
$node->sql("SELECT capi.attach(source => 'bad' || n, table_name => 'bad.orders', dataset => 'main', event_name => 'Lead' || n,
	query => \$q\$$hanging\$q\$) FROM generate_series(1, 4) n", 'tenant');

sub bad_orders { $node->sql("INSERT INTO bad.orders SELECT FROM generate_series(1, $_[0])", 'shop_app'); return }
sub hung { return $node->sql("SELECT count(*) FROM $readers") }

# Opens the pipe, so that those who wait go on, until none of them is left.
sub let_go
{
	my $pids = $node->sql("SELECT coalesce(string_agg(pid::text, ', '), '0') FROM $readers");

	foreach my $time (1 .. 300)
	{
		return 1 if $node->sql("SELECT count(*) FROM $readers AND pid IN ($pids) AND state <> 'idle'") == 0;
		close $_ foreach grep { sysopen $_, $pipe, O_WRONLY | O_NONBLOCK } my $end;
		usleep(100_000);
	}
	return 0;
}

sub others_go_on
{
	my ($name, $deliver, $limit_s) = @_;
	my $began = time;
	my @ids = $node->place_orders(3);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->pay(@ids);
	$deliver->();
	ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE source = 'paid_orders' AND status = 'delivered'
		AND order_key IN ('" . join("', '", @ids) . "')"), "P6: $name: others are delivered");
	cmp_ok(time - $began, '<', $limit_s, "P6: $name: in time") if $limit_s;
	return;
}

# --- sessions that deliver, and are cancelled ---------------------------------

bad_orders(3);
foreach my $round (1 .. 3)
{
	others_go_on("a session, round $round", sub {
		# the reader of the others may come after those of the tenant
		my ($ret, $out, $err) = $node->psql('shop', "SET statement_timeout = '4s'; CALL capi.deliver()");
		note($err);
	});
	is(hung(), 1, 'P12: one reader hangs, whoever delivers');
}
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE source LIKE 'bad%' AND status IN ('queued', 'retrying')"), 12,
	'P3: its orders wait');
ok(let_go(), 'P12: it ends when it can');

# --- dispatchers, which are ended ----------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'capi'\ncapi.databases = 'shop'");
$node->restart;
bad_orders(3000);
others_go_on('much work that hangs', sub { }, 8);
foreach my $round (1 .. 3)
{
	others_go_on("a dispatcher, round $round", sub { }, 3);
	is(hung() - $node->sql("SELECT count(*) FROM $readers AND state = 'idle'"), 1, 'P12: one reader hangs, whatever dispatcher');
	my $pid = $node->dispatcher_pid;
	$node->sql("SELECT pg_terminate_backend($pid, 10000)");
	$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher' AND pid <> $pid") or die;
}
ok($node->wait_for("SELECT count(*) = 12012 FROM capi.delivery_status WHERE source LIKE 'bad%' AND status IN ('queued', 'retrying')"), 'P3: nothing is lost');

# --- mended ----------------------------------------------------------------------

$node->sql("SELECT capi.alter_source('bad' || n, query => \$q\$SELECT $columns FROM bad.orders b\$q\$) FROM generate_series(1, 4) n", 'tenant');
is(hung(), 1, 'P12: the last one still hangs');
ok(let_go(), 'P12: it ends when it can');
ok($node->wait_for("SELECT count(*) = 12012 FROM capi.delivery_status WHERE source LIKE 'bad%' AND status = 'delivered'", 120),
	'P3: then the role has readers again');

done_testing();
