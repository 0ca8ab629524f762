# P6 P12: somebody sends the largest events that capi.send() takes, under as many
# names as it takes.  The dispatcher's memory stays bounded, orders go on, and
# every event arrives once.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $EVENTS = 1500;
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;
$node->sql("CREATE ROLE web LOGIN; SELECT capi.grant_access('web', 'writer')");
$node->pay($node->place_orders(10));
$node->wait_until_idle;

# Memory of its own, in kB.
sub memory
{
	my ($kb) = slurp_file('/proc/' . $node->dispatcher_pid . '/status') =~ /^RssAnon:\s+(\d+) kB/m;

	return $kb;
}

my $before = memory();
my $peak = 0;

# nothing of it can leave: it waits in memory as far as there is room, and in the tables
$sandbox->misbehave(hang => JSON::PP::true(), times => undef);
$node->sql(qq{SELECT max(id) FROM (SELECT capi.send('main', jsonb_build_object('event_name', 'Event ' || n % 100,
	'user_data', '{"em": "ann\@example.com"}'::jsonb, 'custom_data',
	jsonb_build_object('note', (SELECT string_agg(md5(random()::text || n || m), '') FROM generate_series(1, 1900) m))), n::text) AS id
	FROM generate_series(1, $EVENTS) n) x}, 'web');
ok($node->wait_for("SELECT count(*) = 101 FROM capi.source_status"), 'each name is a source');
$sandbox->wait_for(hanging => 4) or die;
foreach (1 .. 20)
{
	my $now = memory();

	$peak = $now if $now > $peak;
	$node->sql('SELECT pg_sleep(0.05)');
}
$sandbox->behave;
$sandbox->release;
my @ids = $node->place_orders(10);
$node->pay(@ids);
until ($node->sql("SELECT count(*) = $EVENTS FROM capi.delivery_status WHERE source LIKE 'send:%' AND status = 'delivered'") eq 't')
{
	my $now = memory();

	$peak = $now if $now > $peak;
}
cmp_ok($peak - $before, '<', 48 * 1024, "P12: $EVENTS events of 60 kB in 100 sources leave the dispatcher its memory")
  or diag("before $before kB, at most $peak kB");
note("before $before kB, at most $peak kB");
$node->wait_until_idle;
is($node->sql('SELECT count(*) FROM capi.direct_event'), '0', 'nothing is left of them');
is($sandbox->stats->{distinct_events}, $EVENTS + 20, 'P3 P5: all arrived, and the orders');
is($node->sql("SELECT pg_total_relation_size('capi.direct_event') > 16 * 1024 * 1024"), 't', 'their space is large');

# a dispatcher that starts looks after its tables; the index learns that it is empty
$node->sql('VACUUM capi.direct_event');
kill 'TERM', $node->dispatcher_pid;
ok($node->wait_for("SELECT pg_total_relation_size('capi.direct_event') < 1024 * 1024"), 'P12: and given back');

done_testing();
