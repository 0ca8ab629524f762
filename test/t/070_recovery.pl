# After an outage: one probe, and when it is accepted all that waited, in full
# batches, oldest first; whatever the outage was like and however long.
# slow
use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

# What is allowed beyond a request for each thousand events.
my $SPARE_REQUESTS = 5;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.request_timeout = '2s'\ncapi.poll_interval = '10min'");
$node->install_capi;
$node->attach;

# Pays orders and lets the endpoint fail like that for a number of requests,
# or, with code in during, as long as that takes; then all is well again.
sub outage
{
	my ($name, $count, $plan, $during) = @_;
	my $events = $sandbox->stats->{distinct_events};
	my $requests = $sandbox->stats->{requests};

	$sandbox->misbehave(%$plan, times => undef);
	# in many transactions, as orders come
	foreach my $n (1 .. 8)
	{
		$node->pay($node->place_orders($count / 8));
	}
	ok($node->wait_for("SELECT count(*) = $count FROM capi.delivery_status WHERE status IN ('queued', 'retrying')"
			. " AND reason IS NOT NULL"), "$name: all wait");
	$sandbox->wait_for(requests => $requests + 4, timeout_s => 30);
	$during->() if $during;

	my $failures = $sandbox->stats->{requests} - $requests;
	my $rest = $node->sql("SELECT coalesce(extract(epoch FROM max(next_attempt_at) - now()), 0)"
		  . " FROM capi.delivery_status WHERE status IN ('queued', 'retrying')");
	$requests = $sandbox->stats->{requests};
	my $began = time;
	$sandbox->behave;
	$sandbox->release if $plan->{hang};
	# new ones come all the while
	$node->pay($node->place_orders(10));
	ok($sandbox->wait_for(distinct_events => $events + 1, timeout_s => 120), "$name: the first success");
	my $first = time - $began;
	my $ceiling = 2**($failures < 7 ? $failures : 7);

	# what was begun before may still have to time out
	cmp_ok($first, '<', $ceiling + 4, "$name: comes within the ceiling of $ceiling s, after $failures failures");
	$node->wait_until_idle(20);
	cmp_ok($sandbox->stats->{requests} - $requests, '<=', ($count + 10) / 1000 + $SPARE_REQUESTS,
		"$name: all that waited goes in full batches");
	cmp_ok(time - $began - $first, '<', 10, "$name: and at once");
	return;
}

outage('unavailable', 2400, { status => 503 });
outage('a fault in the answer', 2400, { status => 500, code => 2 });
outage('not understood', 2400, { html => JSON::PP::true(), status => 502 });
outage('connections cut', 800, { cut => 'before' });
outage('nothing answers', 2400, { hang => JSON::PP::true() });
$node->deliveries_ok('P3: after every outage', max_repeats => 4000);

# --- failures in between, which are no outage --------------------------------

my $requests = $sandbox->stats->{requests};
$sandbox->misbehave(status => 503, skip => 1, times => 4);
$node->pay($node->place_orders(6000));
$node->wait_until_idle;
cmp_ok($sandbox->stats->{requests} - $requests, '<=', 6 + 4 + $SPARE_REQUESTS,
	'what fails now and then is sent again in full batches');

# --- oldest first ------------------------------------------------------------

$sandbox->misbehave(status => 503, times => undef);
my $before = $sandbox->stats->{requests};
my @young = $node->place_orders(1500);
$node->pay(@young);
ok($node->wait_for("SELECT count(*) = 1500 FROM capi.delivery_status WHERE status IN ('queued', 'retrying')"),
	'young orders wait');
my @old = $node->place_orders(500);
$node->sql("UPDATE shop.orders SET status = 'paid', paid_at = now() - interval '5 days' WHERE id IN ("
	  . join(', ', @old) . ')', 'shop_app');
ok($node->wait_for("SELECT count(*) = 2000 FROM capi.delivery_status WHERE status IN ('queued', 'retrying')"
	  . ' AND event_time IS NOT NULL'), 'and old ones, captured later');
my $last = ($sandbox->requests)[-1]{request};
$sandbox->behave;
$node->wait_until_idle(150);
# the first full batch may have been read before the old ones came
my %sent = map { $_->{event_id} => $_->{first_at} } $sandbox->events(dataset => $node->dataset_id, brief => 1);
my ($first_young) = sort { $a <=> $b } map { $sent{$_} } @young[ 1000 .. 1499 ];
my ($last_old) = sort { $b <=> $a } map { $sent{$_} } @old;
cmp_ok($last_old, '<=', $first_young, 'what expires first goes first');

$node->stop;
done_testing();
