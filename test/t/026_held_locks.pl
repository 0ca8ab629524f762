# P6: while somebody holds a lock on a table of capi's, the dispatcher tries now
# and then, others go on, and a session that delivers records what it has sent.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

# In so long nothing that waits takes as much processor time.
my ($HELD_S, $TIME_S) = (2, 0.1);
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $holder = $node->session;
my ($orders, $sent) = (0, 0);

$node->install_capi;
$node->attach;
$node->pay($node->place_orders(1));
$node->wait_until_idle;
my $pid = $node->dispatcher_pid;

sub delivered
{
	return $node->wait_for("SELECT count(*) = (SELECT count(*) FROM shop.orders) + $sent FROM capi.delivery_status WHERE status = 'delivered'");
}

# --- no spinning ---------------------------------------------------------------------

foreach my $table (qw(delivery request backlog source dataset state context direct_event queue_0 queue_1 queue_2 queue_3))
{
	foreach my $mode ('ACCESS EXCLUSIVE', $table =~ /delivery|request|backlog/ ? 'EXCLUSIVE' : ())
	{
		$holder->sql("BEGIN; LOCK TABLE capi.$table IN $mode MODE");
		# more than is read at a time, and an event of each kind, where that can be said meanwhile
		$node->pay($node->place_orders($table =~ /delivery|backlog/ ? 1500 : 2));
		$sent++ if $table =~ /delivery|backlog|state|request/
		  && defined $node->sql(q{SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'event_time', now(), 'user_data', jsonb_build_object('em', 'a@b.example'),
			'action_source', 'system_generated'), gen_random_uuid()::text)});
		my $before = $node->cpu_seconds($pid);
		$node->sql("SELECT pg_sleep($HELD_S)");
		my $spent = $node->cpu_seconds($pid) - $before;
		cmp_ok($spent, '<', $TIME_S, "P6: capi.$table is held, $mode: the dispatcher does not spin");
		note("$spent s");
		$holder->sql('COMMIT');
		ok(delivered(), "P3: capi.$table: and goes on");
	}
}
is($node->dispatcher_pid, $pid, 'P6: it is the same process');
is($node->repeats, 0, 'P5: nothing was sent twice');

# --- events of capi.send() -----------------------------------------------------------

$node->change('capi.enabled' => 'off');
$node->wait_for('SELECT NOT enabled FROM capi._slot()') or die;
$node->sql(q{SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'event_time', now(), 'user_data', jsonb_build_object('em', 'a@b.example'),
	'action_source', 'system_generated'), 'direct-' || n) FROM generate_series(1, 20) n});
$sent += 20;
$holder->sql('BEGIN; LOCK TABLE capi.direct_event');
$node->change('capi.enabled' => 'on');
my @ids = $node->place_orders(3);
$node->pay(@ids);
ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('" . join("', '", @ids) . "')"),
	'P6: capi.direct_event is held: orders go on');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE order_key ~ '^direct-' AND status IN ('queued', 'held')"), 20, 'P3: its events wait');
$holder->sql('COMMIT');
ok(delivered(), 'P3: and go');
is($node->dispatcher_pid, $pid, 'P6: it is the same process');

# --- a session whose time is over ------------------------------------------------------

$node->change('capi.databases' => '');
$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
my $session = $node->session;
my $goal = $sandbox->stats->{distinct_events} + 3;
@ids = $node->place_orders(3);
$node->pay(@ids);
$holder->sql('BEGIN; LOCK TABLE capi.delivery IN EXCLUSIVE MODE');
$session->send("CALL capi.deliver(max_time => '5s')");
ok($sandbox->wait_for(distinct_events => $goal), 'P6: a session delivers');
ok($node->wait_for("SELECT clock_timestamp() - query_start > '6s' FROM pg_stat_activity WHERE query LIKE 'CALL%' AND state = 'active'"),
	'P5: its time is over, and what it has sent cannot be recorded: it waits');
$holder->sql('COMMIT');
is($session->answer, '', 'P5: then it ends without a word');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('" . join("', '", @ids) . "')"), 3,
	'P5: everything is recorded');
$node->sql('CALL capi.deliver()');
is($node->repeats, 0, 'P5: nothing was sent twice');
$_->quit foreach $session, $holder;

done_testing();
