# What is looked at does not grow with the number of sources: the queue, the backlog
# and the log are read as often for thirty sources as for one.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => 'capi.enabled = off');

$node->install_capi;
$node->attach;
$node->attach(source => "more_$_") foreach 1 .. 29;
$node->pay($node->place_orders(2));
$node->sql("INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)"
	  . " SELECT id, 'w', dataset_id, 'queued', now(), now() FROM capi.source WHERE name LIKE 'more_1%'");
$node->sql("INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key)"
	  . " SELECT now() - n * interval '40 minutes', now() - n * interval '40 minutes', id, dataset_id, 1, 'delivered', 'd' || n"
	  . " FROM capi.source, generate_series(1, 2) n WHERE name = 'more_7'");
$node->sql("UPDATE capi.source SET missed_captures = 3 WHERE name = 'more_8'");

# How often each part of a plan was run, by what it reads.
sub loops
{
	my ($plan, $found) = @_;
	my $name = $plan->{'Function Name'} // $plan->{'Relation Name'};

	$found->{ $name =~ s/_p\d.*//r } += $plan->{'Actual Loops'} if $name;
	loops($_, $found) foreach @{ $plan->{Plans} // [] };
	return $found;
}

foreach my $view ('source_status', 'health')
{
	my $plan = decode_json($node->sql("EXPLAIN (ANALYZE, TIMING off, COSTS off, FORMAT json) SELECT * FROM capi.$view"));
	my $loops = loops($plan->[0]{Plan}, {});

	cmp_ok($loops->{_unread_rows} // 0, '<=', 2, "$view: the queue is read once for each of its columns at most");
	cmp_ok($loops->{backlog} // 0, '<=', 4, "$view: so is the backlog");
}

is($node->sql("SELECT captured_1h, count(*), sum(missed_captures) FROM capi.source_status GROUP BY 1 ORDER BY 1"),
	"2|18|3\n3|12|0", 'the counts are those of each source');
is($node->sql("SELECT captured_1h FROM capi.source_status WHERE source = 'more_7'"), 3, 'what was delivered counts for an hour');
is($node->sql("SELECT captured_1h FROM capi.source_status WHERE source = 'more_19'"), 3, 'what waits counts');

done_testing();
