# What makes a dataset slower: usage near a limit, throttling, its own limit of
# events in an hour.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '10min'");
$node->install_capi;
$node->attach;

my $REST = "SELECT extract(epoch FROM min(next_attempt_at) - now()) FROM capi.delivery_status"
  . " WHERE status IN ('queued', 'retrying')";

# Gaps between the requests from that one on, in seconds.
sub gaps
{
	my ($from) = @_;
	my @at = map { $_->{time} } $sandbox->requests(since => $from);

	return map { $at[$_] - $at[ $_ - 1 ] } 1 .. $#at;
}

# --- usage near a limit ------------------------------------------------------

foreach my $usage ([ app => { total_time => 80, call_count => 5 } ], [ ad_account => { acc_id_util_pct => 80 } ],
	[ business => { call_count => 80, estimated_time_to_regain_access => 0 } ])
{
	my ($header, $members) = @$usage;
	my $from = $sandbox->stats->{requests};

	$sandbox->misbehave(throttle => { $header => $members }, times => 3);
	$node->pay($node->place_orders(1));
	$sandbox->wait_for(requests => $from + 1);
	$node->pay($node->place_orders(1500));
	$node->wait_until_idle;
	my @gaps = gaps($from);
	is(scalar @gaps, 2, "$header: full requests all the same");
	cmp_ok((sort { $a <=> $b } @gaps)[0], '>', 3, "$header: slower at 80 %") or diag("@gaps");
}

# --- throttled ---------------------------------------------------------------

$sandbox->misbehave(code => 4, throttle => { business => { estimated_time_to_regain_access => 7 } });
my $from = $sandbox->stats->{requests};
my @ids = $node->place_orders(5);
$node->pay(@ids);
ok($node->wait_for("SELECT count(*) = 5 FROM capi.delivery_status WHERE reason = 'throttled'"), 'throttled');
my $rest = $node->sql($REST);
ok($rest > 400 && $rest < 421, 'it rests as long as the header says, and the view tells') or diag($rest);
$node->restart;
$node->dispatcher_pid;
$node->pay($node->place_orders(2));
ok($node->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE reason = 'dataset rests'"),
	'new orders wait, too');
is($sandbox->stats->{requests} - $from, 1, 'a restart of the server is no reason to ask again');
$node->sql("SELECT capi.pause_dataset('main'), capi.resume_dataset('main')");
$node->wait_until_idle(20);
$node->deliveries_ok('P3: a person may have it tried at once');

# --- the dataset's own limit -------------------------------------------------

$node->sql("SELECT capi.alter_dataset('main', events_per_hour => 40)");
$node->restart;
$from = $sandbox->stats->{distinct_events};
$node->pay($node->place_orders(100));
ok($node->wait_for("SELECT count(*) = 60 FROM capi.delivery_status WHERE reason = 'dataset rests'"), 'what is beyond the limit waits');
$sandbox->wait_for(distinct_events => $from + 40);
is($sandbox->stats->{distinct_events} - $from, 40, 'and no more than the limit was sent');

$node->stop;
done_testing();
