# P12: the logs have a partition for now and for what comes, whatever partitions an
# outage, a clock or somebody has left; and none goes too early.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;

# Puts partitions in the place of those that are there, in days from today, UTC.
sub partitions
{
	my (@bounds) = @_;

	$node->sql(join ';', 'BEGIN',
		"DO \$\$ BEGIN EXECUTE (SELECT string_agg(format('DROP TABLE %s', inhrelid::regclass), '; ') FROM pg_inherits"
		  . " WHERE inhparent IN ('capi.delivery'::regclass, 'capi.request'::regclass)); END \$\$",
		(map { my $b = $_; map { "SELECT capi._add_partition('$_', " . join(', ',
			map { "(date_trunc('day', now() AT TIME ZONE 'UTC') + interval '$_ days') AT TIME ZONE 'UTC'" } @$b) . ')' }
			qw(delivery request) } @bounds), 'COMMIT');
	return;
}

# Those that are there now, and whether each moment up to two weeks ahead has one.
sub gaps
{
	return $node->sql(q{
SELECT p.parent, t.at FROM unnest('{delivery,request}'::text[]) AS p (parent)
 CROSS JOIN generate_series(now(), now() + interval '14 days', interval '6 hours') AS t (at)
 WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = ('capi.' || p.parent)::regclass
                   AND capi._bound(i.inhrelid, 1) <= t.at AND capi._bound(i.inhrelid, 2) > t.at) LIMIT 3});
}

sub works
{
	my ($what, @bounds) = @_;
	my $log = $node->log_size;

	$node->change('capi.enabled' => 'off');
	partitions(@bounds);
	my $pid = $node->dispatcher_pid;
	$node->sql("SELECT pg_terminate_backend($pid, 5000)");
	$node->change('capi.enabled' => 'on');
	$node->dispatcher_pid($pid);
	my @orders = $node->place_orders(2);
	$node->pay(@orders);
	ok($node->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE status = 'delivered' AND order_key::int IN ("
		  . join(',', @orders) . ')', 20), "$what: orders are delivered");
	ok($node->wait_for("SELECT count(*) > 0 FROM capi.request_log WHERE sent_at > now() - interval '1 minute'", 5),
		"$what: requests are on record");
	is(gaps(), '', "$what: nothing is missing ahead");
	unlike($node->log_since($log), qr/ERROR/, "$what: and nothing fails");
	return;
}

works('the last one ended today', [ -30, 0 ]);
works('there is a gap now', [ -10, -1 ], [ 1, 60 ]);

$node->change('capi.enabled' => 'off');
my %left = (
	'the last one ended today' => [ [ -30, 0 ] ],
	'the last one ended long ago' => [ [ -300, -200 ] ],
	'none is there' => [],
	'there is a gap now' => [ [ -10, -1 ], [ 1, 60 ] ],
	'there is a gap ahead' => [ [ -10, 2 ], [ 5, 60 ] ],
	'all are of a time to come' => [ [ 3, 60 ] ]);
foreach my $what (sort keys %left)
{
	partitions(@{ $left{$what} });
	# minutes, as the dispatcher gives them
	$node->sql("SELECT capi._maintain_logs(interval '129600 minutes')");
	is(gaps(), '', "$what: nothing is missing");
	cmp_ok($node->sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'capi.delivery'::regclass"), '<=', 4,
		"$what: they are few");
}

# somebody took one away to keep it, and left it under its name
my $name = $node->sql("SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 day', '\"delivery_p\"YYYYMMDD\"_0000\"')");
$node->sql("CREATE TABLE IF NOT EXISTS capi.$name (kept int)") ;
partitions([ -300, -200 ]);
$node->sql("SELECT capi._maintain_logs('90 days')");
is(gaps(), '', 'a table has its name: another is found');

# --- none goes too early --------------------------------------------------------------

partitions([ -60, -40 ], [ -40, 30 ]);
$node->sql("SELECT capi._maintain_logs('10 days')");
is($node->sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'capi.delivery'::regclass"), 1,
	'where all sources are of websites, an old partition goes');
my $sale = 'SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em';
my %sources = (
	source => { action_source => 'physical_store', query => "$sale FROM shop.orders o" },
	query => { query => "$sale, 'physical_store' AS action_source FROM shop.orders o" });
foreach my $kind (sort keys %sources)
{
	$node->attach(source => $kind, %{ $sources{$kind} });
	partitions([ -90, -64 ], [ -64, -40 ], [ -40, 30 ]);
	$node->sql("SELECT capi._maintain_logs('10 days')");
	is($node->sql("SELECT string_agg((now()::date - capi._bound(inhrelid, 2)::date)::text, ' ' ORDER BY inhrelid) FROM pg_inherits"
		  . " WHERE inhparent = 'capi.delivery'::regclass"), '40 -30', "P5: with a sale in a shop ($kind) it stays for 62 days");
	is($node->sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'capi.request'::regclass"), 1,
		'requests are kept as long as was said');
	$node->sql("DELETE FROM capi.source WHERE name = '$kind'");
}

done_testing();
