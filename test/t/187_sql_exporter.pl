# contrib/sql_exporter on a server: each collector's statement, asked by a role with
# the duty of a reader, gives the columns that it names, of kinds that can be read, and
# together they tell what the real exporter tells.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Prometheus;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(slurp_file);

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
$node->pay($node->place_orders(2));
$node->wait_until_idle;
CapiTest::Prometheus::meta_told($node);
my $watch = CapiTest::Prometheus->new($node);
my $page = '';
ok($watch->until_true(sub { $page = $watch->page; $page =~ /^capi_match_quality\{/m }), 'the exporter tells all') or diag($page);

my %told;
foreach my $path (sort glob 'contrib/sql_exporter/*.collector.yml')
{
	my $text = slurp_file($path);
	my ($query) = $text =~ /^    query: (?:\|\n)?(.*)\z/ms;
	my @metrics;

	while ($text =~ /metric_name: (\w+)\n    type: (\w+)\n    help: '.*'\n(?:    key_labels: \[(.*)\]\n)?    values: \[(\w+)\]\n/g)
	{
		push @metrics, { name => $1, type => $2, labels => [ split /, /, $3 // '' ], value => $4 };
	}
	my ($collector) = $text =~ /^collector_name: (\w+)$/m;
	is($path, "contrib/sql_exporter/$collector.collector.yml", "$collector: is named as its file");
	foreach my $metric (@metrics)
	{

		# what sql_exporter reads is a text for each label, a double for each value; what is null it leaves out
		$told{"$metric->{name} $metric->{type}"} = $node->sql('SELECT count("' . $metric->{value} . '"::float8)'
			  . join('', map { ", count(\"$_\"::text)" } @{ $metric->{labels} }) . " FROM ($query) q", 'capi_exporter');
		my ($values, @labels) = split /\|/, $told{"$metric->{name} $metric->{type}"};
		my $lines = () = $page =~ /^$metric->{name}(?:\{[^}]*\})? (?!NaN)/mg;

		is($values, $lines, "$metric->{name}: as many as the exporter tells");
		cmp_ok($_, '>=', $values, "$metric->{name}: each has its labels") foreach @labels;
	}
}
is(join("\n", sort keys %told), join("\n", sort map { s/^# TYPE //r } grep { /capi_|pg_up / } $page =~ /^(# TYPE \w+ \w+)$/mg),
	'the metrics are those of the exporter');

done_testing();
