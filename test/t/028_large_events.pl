# P12: much text in many orders passes in parts, and memory does not grow with it.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(slurp_file);

my $ORDERS = 1500;
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.readers = 1\ncapi.query_timeout = '5min'");

$node->install_capi;
$node->sql(q{
CREATE TABLE shop.letters (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text, at timestamptz DEFAULT now());
GRANT INSERT, SELECT ON shop.letters TO shop_app}, 'shop_owner');
# each kind has one column of 60 kB
$node->attach(source => 'letters', table_name => 'shop.letters', on_column => undef, on_values => undef, query => q{
SELECT l.id AS key, l.at AS event_time, 10 AS value, 'EUR' AS currency, 'l@b.example' AS em, '203.0.113.9' AS client_ip_address,
       'agent' AS client_user_agent,
       CASE l.kind WHEN 'event' THEN repeat('x', 60000) END AS content_name,
       CASE l.kind WHEN 'reason' THEN repeat('r', 60000) END AS ignore_reason,
       CASE l.kind WHEN 'id' THEN repeat('i', 60000) ELSE 'l-' || l.id END AS event_id,
       CASE l.kind WHEN 'name' THEN repeat('n', 60000) END AS event_name,
       CASE l.kind WHEN 'dataset' THEN repeat('d', 60000) END AS dataset
  FROM shop.letters l});

sub peak_kb
{
	my ($pid) = @_;

	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
}

sub letters
{
	my ($kind, $n) = @_;
	# an order for a dataset that does not exist waits for it
	my $table = $kind eq 'dataset' ? "capi.backlog WHERE reason ~ 'dataset'" : 'capi.delivery';
	my $done = $node->sql("SELECT count(*) FROM $table") + $n;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->sql("INSERT INTO shop.letters (kind) SELECT '$kind' FROM generate_series(1, $n)", 'shop_app');
	ok($node->wait_for("SELECT count(*) = $done FROM $table", 120), "P3: $n of '$kind' are done");
	return;
}

# what the processes take for orders of usual size
letters(usual => $ORDERS);
my $pid = $node->dispatcher_pid;
my $reader = $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'capi reader'");
my ($usual, $usual_reader) = (peak_kb($pid), peak_kb($reader));
my $log = $node->log_size;

foreach my $kind (qw(event reason id name dataset))
{
	letters($kind => $ORDERS);
	note("$kind: " . peak_kb($pid) . ' kB');
	# all that came would be 90 MB
	cmp_ok(peak_kb($pid) - $usual, '<', 32_000, "P12: '$kind': the dispatcher did not grow");
	is($node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'capi reader'"), $reader, "P12: '$kind': the reader lives");
	cmp_ok(peak_kb($reader) - $usual_reader, '<', 32_000, "P12: '$kind': nor did the reader");
}
is($node->dispatcher_pid, $pid, 'P12: nor end');
unlike($node->log_since($log), qr/ERROR|WARNING|reader_memory/, 'P12: nor complain');
is($node->sql("SELECT string_agg(DISTINCT outcome || coalesce(' ' || left(reason, 20), ''), ', ' ORDER BY outcome || coalesce(' ' || left(reason, 20), '')) FROM capi.delivery"),
	'delivered, ignored rrrrrrrrrrrrrrrrrrrr, rejected no_event_name', 'P10: each has its outcome');
is($sandbox->stats->{distinct_events}, 3 * $ORDERS, 'P3: and is received');

done_testing();
