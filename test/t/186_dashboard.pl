# The Grafana dashboard: each of its panels asks for what the real exporter tells, in
# words that a real Prometheus understands, and has something to show.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Prometheus;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(slurp_file);

my $dashboard = decode_json(slurp_file('contrib/grafana/capi.json'));
my @panels = @{ $dashboard->{panels} };
my @charts = grep { $_->{type} ne 'row' } @panels;
my @targets = map { @{ $_->{targets} } } @charts;

sub box { my ($x, $y, $w, $h) = @{ $_[0]{gridPos} }{qw(x y w h)}; return ($x, $y, $x + $w, $y + $h) }

sub overlap
{
	my ($x1, $y1, $x2, $y2) = box($_[0]);
	my ($u1, $v1, $u2, $v2) = box($_[1]);

	return $x1 < $u2 && $u1 < $x2 && $y1 < $v2 && $v1 < $y2;
}

# --- the file ------------------------------------------------------------------------

my %ids = map { $_->{id} => 1 } @panels;
is(scalar keys %ids, scalar @panels, 'the number of each panel is its own');
my @over;
foreach my $i (0 .. $#panels)
{
	push @over, map { "$panels[$i]{title}/$_->{title}" } grep { overlap($panels[$i], $_) } @panels[ $i + 1 .. $#panels ];
}
is("@over", '', 'no panel lies over another');
is(join(' ', map { $_->{title} } grep { my ($x1, $y1, $x2) = box($_); $x1 < 0 || $x2 > 24 } @panels), '', 'and none beyond the edge');
my %sources = map { $_->{datasource}{uid} => 1 } @charts, @targets, grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} };
is(join(' ', keys %sources), '${datasource}', 'who imports it chooses the data source');
is(join(' ', map { $_->{name} } @{ $dashboard->{templating}{list} }), 'datasource instance datname dataset', 'and what to look at');
foreach my $panel (@charts)
{
	my %refs = map { $_->{refId} => 1 } @{ $panel->{targets} };

	fail("$panel->{title}: two questions of one name") if keys %refs != @{ $panel->{targets} };
}

# --- a shop in which there is something to see of everything ---------------------------

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
$sandbox->misbehave(match => { event_id => '1' }, code => 100, subcode => 2804008, times => undef);
$node->pay($node->place_orders(3));
$node->wait_until_idle;
CapiTest::Prometheus::meta_told($node);
my $watch = CapiTest::Prometheus->new($node);
my $page = '';
ok($watch->until_true(sub { $page = $watch->page; $page =~ /^capi_match_quality\{[^}]*\} 6\.2$/m && $page =~ /^capi_meta_counted_24h\{[^}]*\} 7$/m }),
	'the exporter tells what Meta said') or diag($page);
like($page, qr/^capi_delay_p95_seconds\{[^}]*dataset="main"[^}]*\} 0\.\d+$/m, 'and how long it took');
ok($watch->until_true(sub { my $told = $watch->ask('query', query => 'count_over_time(capi_match_quality[1h])'); $told && @{ $told->{result} } && $told->{result}[0]{value}[1] > 1 }),
	'Prometheus has it');

# --- each panel ------------------------------------------------------------------------

# the expression as Grafana asks it when all is chosen
sub chosen { return $_[0] =~ s/\$(?:instance|datname|dataset)\b/.*/gr }

foreach my $panel (@charts)
{
	foreach my $target (@{ $panel->{targets} })
	{
		my $expression = $target->{expr};
		my @unknown = grep { $page !~ /^$_\{/m } $expression =~ /\b(capi_\w+)/g;
		my $told = $watch->ask('query', query => chosen($expression));

		is("@unknown", '', "$panel->{title}: the exporter has its metrics");
		cmp_ok($told ? scalar @{ $told->{result} } : 0, '>', 0, "$panel->{title}: has something to show") or diag(chosen($expression));
	}
}
foreach my $query (map { $_->{query}{query} } grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} })
{
	my ($series, $label) = chosen($query) =~ /^label_values\((.*), (\w+)\)$/;
	my $told = $watch->ask('query', query => "group by ($label) ($series)");

	cmp_ok($told ? scalar @{ $told->{result} } : 0, '>', 0, "there is a $label to choose");
}

# what is asked for and not drawn by any panel
my %drawn = map { $_ => 1 } map { $_->{expr} =~ /\b(capi_\w+)/g } @targets;
is(join(' ', grep { !$drawn{$_} } do { my %seen; grep { !$seen{$_}++ } $page =~ /^(capi_\w+)\{/mg }),
	'capi_dataset_expires_in_seconds capi_source_broken capi_source_paused', 'the rest is for alerts');

done_testing();
