# The alerts of contrib/prometheus by Prometheus's own tool: rules.yaml is right,
# rules.test.yaml holds, and has something to say of each rule.
use strict;
use warnings;

use File::Temp;
use IPC::Run;
use Test::More;
use PostgreSQL::Test::Utils qw(slurp_file append_to_file);

my $rules = slurp_file('contrib/prometheus/rules.yaml');
my $tests = slurp_file('contrib/prometheus/rules.test.yaml');
my @alerts = $rules =~ /- alert: (\w+)/g;

sub promtool
{
	my (@command) = @_;
	my $said = '';

	my $holds = IPC::Run::run([ 'promtool', @command ], '<', \undef, '>&', \$said);
	return ($holds, $said);
}

# The alerts whose tests fail with other rules.
sub failing_with
{
	my ($changed) = @_;
	my $folder = File::Temp->newdir;

	append_to_file("$folder/rules.yaml", $changed);
	append_to_file("$folder/rules.test.yaml", $tests);
	my ($holds, $said) = promtool('test', 'rules', "$folder/rules.test.yaml");
	return map { $_ => 1 } $said =~ /alertname: (\w+), time/g;
}

# "5m" or "1h", so many minutes more
sub longer
{
	my ($number, $unit, $more) = @_;

	return 'for: ' . ($number * ($unit eq 'h' ? 60 : 1) + $more) . 'm';
}

my ($right, $said) = promtool('check', 'rules', 'contrib/prometheus/rules.yaml');
ok($right, 'rules.yaml is what Prometheus takes') or diag($said);
like($said, qr/\Q${\scalar @alerts}\E rules found/, 'every rule is an alert');
my ($holds, $why) = promtool('test', 'rules', 'contrib/prometheus/rules.test.yaml');
ok($holds, 'rules.test.yaml holds') or diag($why);

# each part of each rule is tested: with another, its test fails
my @waiting = grep { $rules =~ /- alert: $_\n.*\n +for:/ } @alerts;
my @mutants = (
	[ 'when it fires', $rules =~ s/expr: .*/expr: vector(0) == 1/gr, @alerts ],
	[ 'when it does not', $rules =~ s/expr: .*/expr: vector(1)/gr, @alerts ],
	[ 'its severity', $rules =~ s/severity: \w+/severity: none/gr, @alerts ],
	[ 'its summary', $rules =~ s/summary: "/summary: "Look: /gr, @alerts ],
	[ 'its description', $rules =~ s/description: "/description: "Look: /gr, @alerts ],
	[ 'not before its time', $rules =~ s/for: (\d+)([mh])/longer($1, $2, -1)/ger, @waiting ],
	[ 'in its time', $rules =~ s/for: (\d+)([mh])/longer($1, $2, 1)/ger, @waiting ]);

foreach my $mutant (@mutants)
{
	my ($part, $changed, @of) = @$mutant;
	my %fails = failing_with($changed);

	is(join(' ', grep { !$fails{$_} } @of), '', "each alert has a test of $part");
}

done_testing();
