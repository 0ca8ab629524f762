# P6: while somebody holds a lock on a table of capi's, the dispatcher tries now
# and then, others go on, and a session that delivers records what it has sent.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Points;
use CapiTest::Sandbox;

# Looks for work in a second: tries of what cannot be done, by several parts of
# the dispatcher; one that turns without pause has thousands.
my ($HELD_S, $LOOKS) = (1, 100);
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $points = CapiTest::Points->new($node);
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

sub send_event
{
	$sent++ if defined $node->sql(q{SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'event_time', now(), 'user_data',
		jsonb_build_object('em', 'a@b.example'), 'action_source', 'system_generated'), gen_random_uuid()::text)});
	return;
}

# While somebody has that lock; what is to be done meanwhile.
sub does_not_spin
{
	my ($lock, $name, $do) = @_;

	$holder->sql("BEGIN; $lock");
	$points->count_looks;
	$do->();
	# more time, more looks
	my $began = time;
	$node->sql("SELECT pg_sleep($HELD_S)");
	my $looks = $points->looks;
	cmp_ok($looks, '<', $LOOKS * (1 + time - $began), "P6: $name: the dispatcher does not spin") or diag("$looks looks");
	note("$looks looks");
	cmp_ok($looks, '>', 0, "P6: $name: it looks now and then");
	$holder->sql('COMMIT');
	ok(delivered(), "P3: $name: and goes on");
	return;
}

foreach my $table (qw(delivery request backlog source dataset state context direct_event queue_0 queue_1 queue_2 queue_3))
{
	foreach my $mode ('ACCESS EXCLUSIVE', $table =~ /delivery|request|backlog/ ? 'EXCLUSIVE' : ())
	{
		# more than is read at a time, and an event of each kind, where that can be said meanwhile
		does_not_spin("LOCK TABLE capi.$table IN $mode MODE", "capi.$table is held, $mode", sub {
			$node->pay($node->place_orders($table =~ /delivery|backlog/ ? 1500 : 2));
			send_event() if $table =~ /delivery|backlog|state|request/ });
	}
}

# Rows, not tables.
foreach my $table (qw(source dataset dataset_state state))
{
	does_not_spin("SELECT FROM capi.$table FOR UPDATE", "rows of capi.$table are held", sub {
		$node->pay($node->place_orders(2));
		send_event() });
}

# What is noted at a source: captures that were missed, a query that does not run.
$node->sql('CREATE TABLE shop.notes (id int); GRANT INSERT ON shop.notes TO shop_app', 'shop_owner');
$node->attach(source => 'notes', table_name => 'shop.notes', on_column => undef, on_values => undef, key_columns => ['id'],
	query => q{SELECT id AS key, now() AS event_time, 'a note' AS ignore_reason FROM shop.notes});
does_not_spin('SELECT FROM capi.source FOR UPDATE', 'rows of capi.source are held, captures are missed', sub {
	$node->sql('ALTER TABLE shop.notes RENAME COLUMN id TO number', 'shop_owner');
	$node->sql('INSERT INTO shop.notes VALUES (1)', 'shop_app') });
$node->sql('ALTER TABLE shop.notes RENAME COLUMN number TO id', 'shop_owner');
does_not_spin('SELECT FROM capi.source FOR UPDATE', 'rows of capi.source are held, a query does not run', sub {
	$node->sql('ALTER TABLE shop.orders RENAME COLUMN email TO mail', 'shop_owner');
	$node->sql("INSERT INTO shop.orders (total, mail, status, paid_at) VALUES (5, 'x\@example.com', 'paid', now())");
	$node->sql("SELECT pg_sleep(0.5)");
	$node->sql('ALTER TABLE shop.orders RENAME COLUMN mail TO email', 'shop_owner') });

# What waits, and is due: sent, and not recorded; or forgotten, and not removed.
sub wait_in_backlog
{
	my @ids = $node->place_orders(2);

	$node->sql("SELECT capi.pause('paid_orders')");
	$node->pay(@ids);
	$node->wait_for("SELECT count(*) = 2 FROM capi.backlog WHERE key IN ('" . join("', '", @ids) . "')") or die;
	return @ids;
}

wait_in_backlog();
does_not_spin('SELECT FROM capi.backlog FOR UPDATE', 'rows of capi.backlog are held', sub {
	$node->sql("SELECT capi.resume('paid_orders')");
	$node->pay($node->place_orders(2)) });
my @forgotten = wait_in_backlog();
my $keys = "'" . join("', '", @forgotten) . "'";
$node->sql("INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key, reason)"
	  . " SELECT now(), captured_at, source_id, dataset_id, 0, 'forgotten', key, 'forgotten' FROM capi.backlog WHERE key IN ($keys);"
	  . " UPDATE shop.orders SET status = 'gone' WHERE id IN (" . join(', ', @forgotten) . ')');
$sent -= 2;
does_not_spin('SELECT FROM capi.backlog FOR UPDATE', 'rows of capi.backlog are held, of orders that were forgotten', sub {
	$node->sql("SELECT capi.resume('paid_orders')");
	$node->pay($node->place_orders(2)) });
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
