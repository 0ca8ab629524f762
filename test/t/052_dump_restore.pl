# P4, P8 and P12: pg_dump beside a working dispatcher; what a dump holds, and
# what a restored one does.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop, restored, late',
	conf => "capi.poll_interval = '200ms'");
my $restored = $node->in_database('restored', dataset_id => '222');
my $late = $node->in_database('late', dataset_id => '333');
my $dump = $node->basedir . '/shop.sql';
$node->install_capi;
$node->attach;

sub fill
{
	$node->sql("INSERT INTO shop.orders (total, email, is_test, status, paid_at)"
		  . " SELECT 1, 'test\@example.com', true, 'paid', now() FROM generate_series(1, 35000)", 'shop_app');
	return;
}

sub restore
{
	my ($database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $dump ],
		"the dump can be restored into $database");
	return;
}

# --- while it runs ---------------------------------------------------------------

# what pg_dump holds all the time: a snapshot, and a share lock on everything
my $log = $node->log_size;
$node->pay($node->place_orders(20));
$node->wait_until_idle;
my $dumper = $node->session;
$dumper->sql('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM capi.delivery');
$dumper->sql(join "\n", map { "LOCK TABLE $_ IN ACCESS SHARE MODE;" } split /\n/,
	$dumper->sql(q{SELECT c.oid::regclass FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace IN ('capi'::regnamespace, 'shop'::regnamespace)}));
my $first = $node->sql('SELECT segment FROM capi.state');
foreach my $round (1 .. 3)
{
	my $segment = $node->sql('SELECT segment FROM capi.state');

	fill();
	$node->pay($node->place_orders(20));
	ok($node->wait_for("SELECT segment <> $segment FROM capi.state"), "P12: beside a dump the queue turns, $round");
}
$node->wait_until_idle;
cmp_ok($node->sql("SELECT sum(pg_relation_size('capi.queue_' || n)) FROM generate_series(0, 3) n"), '>', 6_000_000,
	'P12: and truncates nothing that the dump reads');
is($dumper->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered'"), 20, 'the dump sees the past');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered'"), 80, 'the others the present');
$dumper->sql('COMMIT');
fill();
ok($node->wait_for("SELECT sum(pg_relation_size('capi.queue_' || n)) < 4000000 FROM generate_series(0, 3) n"),
	'P12: after the dump, space comes back');
$node->wait_until_idle;
$node->deliveries_ok('P3: all the time');
$dumper->quit;

# --- what is in it -----------------------------------------------------------------

# one waits in the queue, one in the backlog, one is refused, some are delivered
$node->sql("CREATE ROLE other_owner LOGIN");
my ($refused, @waiting) = $node->place_orders(5);
$sandbox->misbehave(match => { event_id => "$refused" }, status => 400, code => 100, subcode => 2804008);
$node->pay($refused);
$node->wait_until_idle;
$node->sql("SELECT capi.pause('paid_orders')");
$node->pay(@waiting[ 0 .. 1 ]);
$node->wait_for("SELECT count(*) = 2 FROM capi.backlog") or die;
$node->change('capi.enabled' => 'off');
$node->wait_for("SELECT state = 'disabled' FROM capi.health") or die;
$node->pay(@waiting[ 2 .. 3 ]);
$node->command_ok([ 'pg_dump', '-d', $node->connstr('shop'), '-f', $dump ], 'pg_dump');
my $text = slurp_file($dump);
unlike($text, qr/sandbox-token/, 'P8: the plain dump has no token');
unlike($text =~ s/^COPY shop\..*?^\\\.$//gmsr, qr/example\.com/, 'P7: and outside of the shop nothing of a customer');

# --- restored --------------------------------------------------------------------

my $requests = $sandbox->stats->{requests};
$node->change('capi.enabled' => 'on');
restore('restored');
$restored->dispatcher_pid;
ok($restored->wait_for("SELECT state = 'held_identity' FROM capi.health"), 'P4: the restored database knows that it is a copy');
like($restored->sql(q{SELECT detail FROM capi.diagnose() WHERE "check" = 'identity' AND NOT ok}), qr/sends nothing/,
	'P4: diagnose() says so');
my @own = $restored->place_orders(2);
$restored->pay(@own);
is($restored->sql("SELECT status, count(*) FROM capi.delivery_status WHERE status <> 'ignored' GROUP BY 1 ORDER BY 1"),
	"delivered|80\nqueued|6\nrejected|1", 'P10: it knows what was delivered');
$restored->sql("SELECT capi.resume('paid_orders')");
$restored->sql("SET client_min_messages = error; SELECT capi.alter_dataset(name => 'main', dataset_id => '222', access_token => 'sandbox-token')");
$restored->sql('SELECT pg_sleep(0.5)');
is($sandbox->stats->{requests}, $requests, 'P4: and sends nothing');
is($restored->sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM capi_reserve.source"),
	$restored->sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM capi.source"), 'P3: the copy of the rules is restored too');
$restored->sql('SELECT capi.confirm_identity()');
$restored->wait_until_idle;
is(join(' ', sort { $a <=> $b } map { $_->{event_id} } $sandbox->events(dataset => '222')),
	join(' ', @waiting, @own), 'P4 P5: once confirmed it sends what waited, and nothing that was delivered');
is($restored->sql("SELECT status, count(*) FROM capi.delivery_status WHERE status <> 'ignored' GROUP BY 1 ORDER BY 1"),
	"delivered|86\nrejected|1", 'P10: and all is on record');
$restored->pay($restored->place_orders(3));
$restored->wait_until_idle;
is(scalar $sandbox->events(dataset => '222'), 9, 'P3: it goes on');
$restored->pay($restored->place_orders(1));
$restored->sql('SELECT capi.confirm_identity()');
$restored->wait_until_idle;
is(scalar $sandbox->events(dataset => '222'), 10, 'P5: to confirm once more changes nothing');

# the shop itself has not noticed
$node->sql("SELECT capi.resume('paid_orders')");
$node->wait_until_idle;
is(scalar $sandbox->events(dataset => $node->dataset_id), 84, 'P3: the shop sends what waited there');

# --- encrypted -------------------------------------------------------------------

my $key_file = $node->basedir . '/key';
append_to_file($key_file, join '', map { chr } 1 .. 40);    # any bytes will do
chmod 0600, $key_file;
$node->change('capi.key_file' => $key_file);
$node->sql("SELECT capi.set_access_token('main', 'sandbox-token')");
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->command_ok([ 'pg_dump', '-d', $node->connstr('shop'), '-f', $dump ], 'pg_dump with capi.key_file');
$text = slurp_file($dump);
unlike($text, qr/sandbox-token/, 'P8: the plain dump has no readable token');
unlike($text, qr/${\ unpack('H*', 'sandbox-token')}/, 'P8: nor as bytes');
restore('late');
$late->sql("SELECT capi.alter_dataset(name => 'main', dataset_id => '333')");
$late->sql('SELECT capi.confirm_identity()');
$late->pay($late->place_orders(2));
$late->wait_until_idle;
is(scalar $sandbox->events(dataset => '333'), 2, 'P8: but the encrypted one, which works with the key');

# --- partitions come and go beside a dump --------------------------------------------

# the one of today is missing, and one is past retention
$late->sql("DO \$\$ BEGIN EXECUTE (SELECT string_agg(format('DROP TABLE %s', inhrelid::regclass), '; ')"
	  . " FROM pg_inherits WHERE inhparent IN ('capi.delivery'::regclass, 'capi.request'::regclass)); END \$\$");
$late->sql("SELECT capi._add_partition(p, now() - interval '200 days', now() - interval '190 days')"
	  . " FROM unnest('{delivery,request}'::text[]) p");
$dumper = $late->session;
$dumper->sql('BEGIN; LOCK TABLE capi.delivery, capi.request IN ACCESS SHARE MODE');
$log = $node->log_size;
$late->sql("SELECT pg_terminate_backend(" . $late->dispatcher_pid . ", 5000)");
my @late = $late->place_orders(2);
$late->pay(@late);
ok($late->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE status = 'delivered' AND order_key::int IN ($late[0], $late[1])", 10),
	'P12: beside a dump the partition of today is made');
is($late->sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'capi.delivery'::regclass"), 2,
	'P12: and an old one stays');
$dumper->sql('COMMIT');
$late->sql("SELECT pg_terminate_backend(" . $late->dispatcher_pid . ", 5000)");
ok($late->wait_for("SELECT count(*) = 1 FROM pg_inherits WHERE inhparent = 'capi.delivery'::regclass", 10),
	'P12: until the dump is done');
unlike($node->log_since($log), qr/ERROR/, 'P12: none of it is an error');

done_testing();
