# P3, P4, P5: the crash table of doc/design.md.  A process is stopped at every
# place between two commits, and dies there; afterwards the set received equals
# the set committed, and no more is repeated than was in flight just then.
# CAPI_CRASH_POINT: only those of the table that match it, in every way.
# slow
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Points;
use CapiTest::Sandbox;

# Orders of a round, and so the most that can be in flight.
my $ORDERS = 6;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '300ms'\ncapi.request_timeout = '5s'\nmax_worker_processes = 16\n"
	  . "max_prepared_transactions = 10");
my $points = CapiTest::Points->new($node);
my $rounds = 0;

$node->install_capi;
$node->create_dataset(name => 'letters', dataset_id => '222');
$node->attach;
# Long keys that fill the queue fast, and are not sent.
$node->sql(q{
CREATE TABLE shop.notes (id text);
GRANT INSERT ON shop.notes TO shop_app}, 'shop_owner');
$node->attach(source => 'notes', table_name => 'shop.notes', on_column => undef, on_values => undef, key_columns => ['id'],
	query => q{SELECT id AS key, now() AS event_time, 'a note' AS ignore_reason FROM shop.notes});

# --- what brings a process to its place ------------------------------------------

sub pay { $node->pay($node->place_orders($ORDERS)); return }

# By a session that may die of it.
my $client;

sub client
{
	my (@statements) = @_;

	$client = $node->session(role => 'shop_app');
	$client->sql($_) foreach @statements[ 0 .. $#statements - 1 ];
	$client->send($statements[-1]);
	return;
}

sub sell
{
	client(q{INSERT INTO shop.orders (total, email, status, paid_at)
		SELECT n, 'c' || n || '@example.com', 'paid', now() FROM generate_series(1, 6) n});
	return;
}

sub sell_prepared
{
	client('BEGIN', "INSERT INTO shop.orders (total, email, status, paid_at) VALUES (1, 'c\@example.com', 'paid', now())",
		"PREPARE TRANSACTION 'order $rounds'", "COMMIT PREPARED 'order $rounds'");
	return;
}

sub restart_dispatcher
{
	pay();
	kill 'TERM', $node->dispatcher_pid;
	return;
}

# A reader is there for the next portion, too: away with it.
sub restart_reader
{
	$node->sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'capi reader'");
	pay();
	return;
}

sub fail_once
{
	$sandbox->misbehave(status => 503);
	pay();
	return;
}

sub fill_queue
{
	$node->sql("INSERT INTO shop.notes SELECT 'round $rounds, ' || n || repeat('.', 900) FROM generate_series(1, 2600) n", 'shop_app');
	pay();
	return;
}

sub break_query
{
	$node->sql('ALTER TABLE shop.orders RENAME COLUMN email TO mail');
	$node->sql("INSERT INTO shop.orders (total, mail, status, paid_at) VALUES (5, 'x\@example.com', 'paid', now())");
	return;
}

sub mend_query
{
	$node->sql('ALTER TABLE shop.orders RENAME COLUMN mail TO email')
	  if $node->sql("SELECT count(*) FROM pg_attribute WHERE attrelid = 'shop.orders'::regclass AND attname = 'mail'");
	return;
}

# A rule that has become wrong counts its misses.
sub miss
{
	$node->sql('ALTER TABLE shop.notes RENAME COLUMN id TO number');
	$node->sql("INSERT INTO shop.notes VALUES ('missed')", 'shop_app');
	pay();
	$node->sql('ALTER TABLE shop.notes RENAME COLUMN number TO id');
	return;
}

my $holder;

sub hold_log
{
	my $waits = "FROM pg_stat_activity WHERE backend_type = 'capi dispatcher' AND wait_event_type = 'Lock'";

	$holder = $node->session;
	$holder->sql('BEGIN; LOCK TABLE capi.delivery IN EXCLUSIVE MODE');
	pay();
	# it waits a moment, and puts it off
	$node->wait_for("SELECT count(*) = 1 $waits") or die;
	$node->wait_for("SELECT count(*) = 0 $waits") or die;
	$holder->sql('COMMIT');
	$holder->quit;
	return;
}

my @letters;

sub send_event
{
	my $event = qq({"event_name": "Lead", "event_id": "letter $rounds", "user_data": {"em": "a\@b.example"}});

	push @letters, "letter $rounds";
	$node->sql("SELECT capi.send('letters', '$event')");
	return;
}

sub letters_ok
{
	$node->wait_until_idle;
	is_deeply([ map { $_->{event_id} => $_->{count} } sort { $a->{first_at} <=> $b->{first_at} } $sandbox->events(dataset => '222') ],
		[ map { $_ => 1 } @letters ], 'P3 P5: the event without a table as well');
	return;
}

# One of them is refused, without a word on which.
sub refuse_one
{
	my @ids = $node->place_orders($ORDERS);
	my $requests = $sandbox->stats->{requests};

	$sandbox->misbehave(match => { event_id => "$ids[3]" }, status => 400, code => 100, subcode => 2804008,
		delay_ms => 300, times => undef);
	$points->let_go;
	$node->pay(@ids);
	$sandbox->wait_for(requests => $requests + 2) or die;
	$points->want('an answer came');
	return;
}

sub backfill
{
	$node->sql("SELECT capi.detach('paid_orders')");
	$node->place_orders(1);
	$node->sql("INSERT INTO shop.orders (total, email, status, paid_at) VALUES (7, 'late\@example.com', 'paid', now())", 'shop_app');
	$node->attach;
	$client = $node->session(role => 'shop_owner');
	$client->send("CALL capi.backfill('paid_orders', now() - interval '1 day', now())");
	return;
}

sub backfill_again
{
	$node->sql("CALL capi.backfill('paid_orders', now() - interval '1 day', now())", 'shop_owner');
	return;
}

# --- the table ---------------------------------------------------------------------

# Who, where, what brings it there (pay), how many events are in flight there (0),
# what is to be done afterwards.
my @table = (
	[ dispatcher => 'a dispatcher connected', do => \&restart_dispatcher ],
	(map { [ dispatcher => "taking the sender's lock: $_", do => \&restart_dispatcher ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "reading the configuration: $_" ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "reading the queue: $_" ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "looking orders up: $_" ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "counting what was missed: $_", do => \&miss ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "reading the backlog: $_", do => \&fail_once ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "noting the state of a source: $_", do => \&break_query, after => \&mend_query ] } 'before commit', 'after commit'),
	[ dispatcher => 'a reader was registered', do => \&restart_reader ],
	[ dispatcher => 'before a request' ],
	[ dispatcher => 'after a request began', in_flight => $ORDERS ],
	[ dispatcher => 'an answer came', in_flight => $ORDERS ],
	[ dispatcher => 'an answer came', do => \&refuse_one, in_flight => $ORDERS, name => 'in the middle of a bisected batch' ],
	[ dispatcher => 'recording outcomes: before commit', in_flight => $ORDERS ],
	[ dispatcher => 'recording outcomes: after commit' ],
	[ dispatcher => 'recording outcomes that waited: before commit', do => \&hold_log, in_flight => $ORDERS ],
	[ dispatcher => 'recording outcomes that waited: after commit', do => \&hold_log ],
	(map { [ dispatcher => "reading events of capi.send(): $_", do => \&send_event, after => \&letters_ok ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "saving the cursor: $_" ] } 'before commit', 'after commit'),
	(map { [ dispatcher => "reclaiming queue segments: $_" ] } 'before commit', 'after commit'),
	[ dispatcher => 'the queue turned', do => \&fill_queue ],
	[ dispatcher => 'a segment was truncated', do => \&fill_queue ],
	(map { [ dispatcher => "maintaining the logs: $_", do => \&restart_dispatcher ] } 'before commit', 'after commit'),
	[ reader => 'a reader connected', do => \&restart_reader ],
	[ reader => 'a reader got a portion' ],
	(map { [ reader => "reading browser contexts: $_" ] } 'before commit', 'after commit'),
	(map { [ reader => "running the query of a source: $_" ] } 'before commit', 'after commit'),
	[ reader => 'a reader has answered a half', in_flight => $ORDERS ],
	[ reader => 'a reader has answered', in_flight => $ORDERS ],
	[ backend => 'before the row in the queue', do => \&sell ],
	[ backend => 'after the row in the queue', do => \&sell ],
	[ backend => 'before an order commits', do => \&sell ],
	[ backend => 'after an order committed', do => \&sell ],
	[ backend => 'after the wake', do => \&sell, in_flight => $ORDERS ],
	[ backend => 'after COMMIT PREPARED', do => \&sell_prepared ],
	(map { [ backend => "backfill: $_", do => \&backfill, after => \&backfill_again, in_flight => $ORDERS ] } 'before commit', 'after commit'),
	[ launcher => 'before a dispatcher is started', do => \&restart_dispatcher ],
	[ launcher => 'after a dispatcher was started', do => \&restart_dispatcher ],
);

# --- deaths --------------------------------------------------------------------------

sub is_gone { return !kill 0, $_[0] }

sub wait_gone
{
	my ($pid, $timeout_s) = @_;
	my $end = time + $timeout_s;

	usleep(10_000) until is_gone($pid) || time > $end;
	return is_gone($pid);
}

my %death = (
	'kill -9' => sub {
		my $log = $node->log_size;

		kill 'KILL', $_[0];
		wait_gone($_[0], 10);
		$points->let_go;
		$node->wait_for_log(qr/database system is ready to accept connections/, $log);
	},
	SIGTERM => sub {
		kill 'TERM', $_[0];
		# where the server lets nobody end, it goes on
		wait_gone($_[0], 0.5);
		$points->let_go;
		wait_gone($_[0], 10);
	});

sub play
{
	my ($how, $who, $where, %round) = @_;
	my $name = sprintf '%s, %s: %s', $how, $who, $round{name} // $where;
	my $before = $node->repeats;

	$rounds++;
	$points->want($where);
	($round{do} // \&pay)->();
	my $pid = $points->stopped;
	ok($pid, "$name: it comes there") or return;
	$death{$how}->($pid);
	$sandbox->behave;
	if ($client)
	{
		eval { $client->quit };
		undef $client;
	}
	# no growing delay before the next dispatcher
	$node->reload;
	$round{after}->() if $round{after};
	$node->wait_until_idle;
	$node->dispatcher_pid;
	$node->deliveries_ok("P3 P5: $name", max_repeats => $before + ($round{in_flight} // 0));
	return;
}

my $began = time;
my $only = $ENV{CAPI_CRASH_POINT};
@table = grep { "@$_[0, 1]" =~ /$only/ } @table if defined $only;
play('kill -9', @$_) foreach @table;
# an end that is asked for, where something is under way; all with CAPI_CRASH_POINT
play('SIGTERM', @$_) foreach grep { defined $only || $_->[0] eq 'reader' || $_->[1] =~ /request|answer|recording|cursor|segment was/ } @table;
diag(sprintf '%d rounds in %.0f s', $rounds, time - $began);

done_testing();
