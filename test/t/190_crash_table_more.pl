# The crash table, continued (t/054_crash_table): custom audiences, questions to
# Meta, states and their notifications, suspects, renumbered tables, moved rows,
# backfill, forget, redrive, capi.deliver().  A process dies at every place
# between two commits of theirs; afterwards what is here, what Meta has and what
# was told agree, and nothing was repeated but what was in flight.
# CAPI_CRASH_POINT: only those of the table that match it.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;
use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Points;
use CapiTest::Sandbox;
use CapiTest::World;

my $true = JSON::PP::true();
my $dataset = '1234567890';
my $sandbox = CapiTest::Sandbox->new;
my $world = CapiTest::World->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0,
	conf => "capi.poll_interval = '200ms'\ncapi.request_timeout = '10s'\ncapi.stats_interval = '1h'");
my $points = CapiTest::Points->new($node);
my $rounds = 0;

$world->start($node);
$node->create_shop;
$node->install_capi;
$node->create_dataset(name => 'letters', dataset_id => '222');
$node->attach;
$node->sql(q{
CREATE TABLE shop.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text);
INSERT INTO shop.customers (email) SELECT format('first%s@example.com', n) FROM generate_series(1, 40) n;
CREATE TABLE shop.notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE shop.late (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.parts (id int GENERATED ALWAYS AS IDENTITY, region text, status text, at timestamptz NOT NULL DEFAULT now())
  PARTITION BY LIST (region);
CREATE TABLE shop.parts_a PARTITION OF shop.parts FOR VALUES IN ('a');
CREATE TABLE shop.parts_b PARTITION OF shop.parts FOR VALUES IN ('b')}, 'shop_owner');
$node->attach(source => 'notes', table_name => 'shop.notes', on_column => undef, on_values => undef,
	query => q{SELECT id AS key, now() AS event_time, 'a note' AS ignore_reason FROM shop.notes});
foreach my $name (qw(late parts))
{
	$node->attach(source => $name, table_name => "shop.$name", dataset => 'letters', event_name => 'Lead', key_columns => ['id'],
		($name eq 'late' ? (on_column => undef, on_values => undef) : ()),
		query => "SELECT id AS key, '$name ' || id AS event_id, at AS event_time, 'system_generated' AS action_source,"
		  . " 'l' || id || '\@example.com' AS em FROM shop.$name");
}
$node->sql(q{SELECT capi.create_audience('buyers', 'main', '777', 'SELECT id AS key, email AS em, true AS consent FROM shop.customers')},
	'shop_owner');
$sandbox->post('tokens', { add => [ { token => 'sandbox-token', scopes => [ 'ads_read' ], expires_at => int(time) + 13 * 86400 } ] });
$sandbox->post('quality', { dataset => $dataset, web => [ { event_name => 'Purchase', event_match_quality => { composite_score => 6.2 } } ] });

sub wait_or_say
{
	my ($query, $name, $table) = @_;

	return ok($node->wait_for($query, 30), $name) || diag($node->sql("SELECT * FROM $table"));
}

sub status_of { return $node->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$_[0]' AND source = 'paid_orders'") }

# By a session that may die of it.
my $client;

sub client
{
	my ($statement, $role) = @_;

	$client = $node->session(role => $role // 'shop_owner');
	$client->send($statement);
	return;
}

# --- audiences ---------------------------------------------------------------------

sub users { return scalar grep { $_->{call} eq 'users' } $sandbox->requests }

# One goes, two come.
sub change_people
{
	$node->sql("DELETE FROM shop.customers WHERE id = (SELECT min(id) FROM shop.customers);"
		  . " INSERT INTO shop.customers (email) SELECT 'round$rounds.' || n || '\@example.com' FROM generate_series(1, 2) n;"
		  . " SELECT capi.refresh_audience('buyers')", 'shop_owner');
	return;
}

# Stops after the answer to the first request, which removes, or the second.
sub change_until
{
	my ($where, $skip) = @_;
	my $hanging = $sandbox->hanging;

	$points->let_go;
	$sandbox->misbehave(match => { call => 'users' }, hang => $true, accept => $true, skip => $skip);
	change_people();
	$sandbox->wait_for(hanging => $hanging + 1) or die;
	$points->want($where);
	$sandbox->release;
	return;
}

sub many_come
{
	$node->sql("INSERT INTO shop.customers (email) SELECT 'many' || n || '\@example.com' FROM generate_series(1, 10100) n;"
		  . " SELECT capi.refresh_audience('buyers')", 'shop_owner');
	return;
}

sub is_in_step
{
	my ($name) = @_;

	wait_or_say("SELECT state = 'ok' AND waiting = 0 AND last_refresh >= coalesce(a.asked_at, last_refresh)"
		  . " FROM capi.audience_status JOIN capi.audience a ON a.name = audience", "$name: the audience is sent", 'capi.audience_status');
	my @here = sort map { sha256_hex($_) } split /\n/, $node->sql('SELECT email FROM shop.customers');
	my @there = sort map { $_->{EMAIL} } @{ $sandbox->get('audiences?limit=100000')->{audiences}{777}{rows} };
	ok("@here" eq "@there", "$name: the list at Meta is that of the query");
	is($node->sql("SELECT s.members, count(m), count(m) FILTER (WHERE m.status <> '=') FROM capi.audience_status s"
			. " JOIN capi.audience a ON a.name = s.audience LEFT JOIN capi.audience_member m ON m.audience_id = a.id GROUP BY 1"),
		scalar(@here) . '|' . @here . '|0', "$name: and so is what is known of it");
	return;
}

sub drop_another
{
	$points->let_go;
	$node->sql(q{SELECT capi.create_audience('other', 'main', '778', 'SELECT email AS em, true AS consent FROM shop.customers')}, 'shop_owner');
	$node->wait_for("SELECT state = 'ok' FROM capi.audience_status WHERE audience = 'other'") or die;
	$points->want($_[0]);
	$node->sql("SELECT capi.drop_audience('other')", 'shop_owner');
	return;
}

sub is_forgotten
{
	my ($name) = @_;

	wait_or_say("SELECT count(*) = 1 FROM capi.audience_state", "$name: it is forgotten", 'capi.audience_state');
	is($node->sql('SELECT count(DISTINCT audience_id) FROM capi.audience_member'), 1, "$name: with its people, and no other");
	return;
}

# --- what Meta tells ---------------------------------------------------------------

my $asked_at = '-infinity';

sub ask
{
	my ($question) = @_;

	$asked_at = $node->sql('SELECT clock_timestamp()');
	$node->sql("INSERT INTO capi.meta_ask (dataset_id, question, asked_at, next_at, state)"
		  . " SELECT id, '$question', '-infinity', now(), 'no data' FROM capi.dataset WHERE name = 'main'"
		  . " ON CONFLICT (dataset_id, question) DO UPDATE SET next_at = now(); SELECT capi._config_changed()");
	return;
}

sub is_told
{
	my ($name, $question) = @_;

	wait_or_say("SELECT count(*) = 1 FROM capi.meta_ask WHERE question = '$question' AND asked_at > '$asked_at' AND next_at > now() AND state = 'ok'",
		"$name: it was asked again", 'capi.meta_ask');
	is($node->sql('SELECT count(*) FROM (SELECT FROM capi.meta_count GROUP BY hour, dataset_id, event_name HAVING count(*) > 1) c'), 0,
		"$name: no count is stored twice");
	# orders of the hour, each as often as it was received
	my %received;
	$received{total} += $_->{count} foreach $sandbox->events(dataset => $dataset);
	is($node->sql("SELECT sum(counted) FROM capi.meta_count WHERE event_name = 'Purchase'"), $received{total},
		"$name: what Meta counted is what is stored")
	  if $question eq 'counts';
	is($node->sql("SELECT count(*) FROM (SELECT FROM capi.meta_score GROUP BY asked_at, event_name, measure, key HAVING count(*) > 1) s"), 0,
		"$name: no score is stored twice")
	  if $question eq 'quality';
	return;
}

# The end of the token was told, and is to be warned of.
my $warned;

sub to_warn
{
	$points->let_go;
	ask('token');
	$node->wait_for("SELECT warned_days = 14 FROM capi.meta_ask WHERE question = 'token'") or die;
	$warned = $node->log_size;
	$points->want($_[0]);
	$node->sql("UPDATE capi.meta_ask SET warned_days = NULL WHERE question = 'token'; SELECT capi._config_changed()");
	return;
}

sub is_warned
{
	my ($name) = @_;

	$node->wait_for("SELECT warned_days = 14 FROM capi.meta_ask WHERE question = 'token'") or die;
	like($node->log_since($warned), qr/the access token of dataset "main" expires in less than 14 days/, "$name: the warning is in the log");
	return;
}

# --- states ------------------------------------------------------------------------

my $listener;

# The next look at the states is the one that sees it.
sub pause_until
{
	my ($where) = @_;

	$points->let_go;
	$node->wait_for("SELECT count(*) = 0 FROM capi._dataset_states WHERE state IS DISTINCT FROM noted") or die $node->sql('SELECT * FROM capi._dataset_states');
	$points->want('reading the configuration: before commit');
	$points->stopped or die;
	$node->sql("SELECT capi.pause_dataset('letters')");
	$points->then($where);
	return;
}

sub hear_states
{
	$listener = $node->session;
	$listener->sql('LISTEN capi');
	return;
}

# Something is done before the next dispatcher does anything.
sub kill_and
{
	my ($pid, $do) = @_;
	my $log = $node->log_size;

	kill 'STOP', $pid;
	$points->want('a dispatcher connected');
	kill 'KILL', $pid;
	$node->wait_for_log(qr/database system is ready to accept connections/, $log);
	$node->reload;
	$points->stopped or die;
	$do->();
	$points->let_go;
	return;
}

sub is_told_once
{
	my ($name, $times) = @_;

	$node->wait_for("SELECT count(*) = 0 FROM capi._dataset_states WHERE state IS DISTINCT FROM noted") or die;
	is($node->sql("SELECT health FROM capi.dataset_state s JOIN capi.dataset d ON d.id = s.dataset_id WHERE d.name = 'letters'"),
		'paused', "$name: the state is noted");
	# of what comes before this, nothing comes later
	my $heard = $listener->sql('SELECT 1') . $listener->sql('SELECT 1');
	is(scalar(() = $heard =~ /"letters", ?"state" ?: ?"paused"|"dataset" : "letters", "state" : "paused"/g), $times, "$name: and notified $times times");
	$listener->quit;
	$node->sql("SELECT capi.resume_dataset('letters')");
	return;
}

# --- refusals ----------------------------------------------------------------------

my $refused;

# Alone, so that nothing tells whose fault it is.
sub refuse_one
{
	($refused) = $node->place_orders(1);
	$sandbox->misbehave(match => { event_id => $refused }, status => 400, code => 100, subcode => 2804008, times => undef);
	$node->pay($refused);
	return;
}

# Then that one is sent again, when it is in order.
sub is_rejected
{
	my ($name) = @_;

	wait_or_say("SELECT count(*) = 1 FROM capi.delivery_status WHERE order_key = '$refused' AND status = 'rejected'",
		"$name: the one that is refused is rejected", 'capi.delivery_status');
	is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'rejected'"), 1, "$name: and no other");
	$sandbox->behave;
	$node->sql("SELECT capi.redrive(order_key => '$refused')");
	return;
}

sub redrive
{
	$points->let_go;
	refuse_one();
	$node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE order_key = '$refused' AND status = 'rejected'") or die;
	$sandbox->behave;
	$points->want($_[0]);
	client("SELECT capi.redrive(order_key => '$refused')", 'postgres');
	return;
}

# Whether or not it was done before that.
sub redrive_again
{
	$node->sql("SELECT capi.redrive(order_key => '$refused')");
	$node->wait_until_idle;
	is(status_of($refused), 'delivered|', 'the one that was redriven is delivered');
	return;
}

# --- forget ------------------------------------------------------------------------

my $forgotten;

# While its request is under way, which Meta accepts or not.
sub forget_under_way
{
	my ($where, %plan) = @_;

	$points->let_go;
	($forgotten) = $node->hang(1, %plan);
	$node->sql("SELECT capi.forget('$forgotten')");
	$points->want($where);
	$sandbox->release;
	return;
}

# One that was delivered is captured again.
sub forget_delivered
{
	$points->let_go;
	($forgotten) = $node->place_orders(1);
	$node->pay($forgotten);
	$node->wait_until_idle;
	$node->sql("SELECT capi.forget('$forgotten')");
	$points->want($_[0]);
	# paid at the time that was sent, whatever second it is
	$node->sql("UPDATE shop.orders SET status = 'pending' WHERE id = $forgotten");
	$node->sql("UPDATE shop.orders SET status = 'paid' WHERE id = $forgotten", 'shop_app');
	return;
}

sub stays_forgotten
{
	my ($name, $was_sent) = @_;
	my ($other) = $node->place_orders(1);

	$node->pay($other);
	$node->wait_until_idle;
	is(status_of($forgotten), 'ignored|forgotten', "$name: it is forgotten");
	$node->sql("SELECT capi._maintain_logs('90 days')");
	is($node->sql("SELECT count(*) FROM (SELECT key FROM capi.history UNION ALL SELECT key FROM capi.backlog"
			. " UNION ALL SELECT key FROM capi.delivery WHERE outcome <> 'forgotten') k WHERE key = '$forgotten'"), 0,
		"$name: and nothing of it is left or has come back");
	# the shop has it no more
	$node->sql("UPDATE shop.orders SET status = 'gone' WHERE id = $forgotten") unless $was_sent;
	return;
}

# --- numbers that begin again, rows that move --------------------------------------

sub renumber
{
	$points->let_go;
	$node->sql("INSERT INTO shop.notes DEFAULT VALUES", 'shop_owner');
	$node->wait_until_idle;
	$node->sql('UPDATE capi.source SET renumbered_at = NULL');
	$points->want($_[0]);
	client('TRUNCATE shop.notes RESTART IDENTITY');
	return;
}

sub is_renumbered
{
	my ($name, $happened) = @_;

	$node->sql("INSERT INTO shop.notes DEFAULT VALUES", 'shop_owner');
	$node->wait_until_idle;
	if ($happened)
	{
		wait_or_say("SELECT renumbered_at IS NOT NULL FROM capi.source WHERE name = 'notes'", "$name: it is said that numbers begin again",
			'capi.source_status');
	}
	else
	{
		is($node->sql("SELECT renumbered_at FROM capi.source WHERE name = 'notes'"), '', "$name: nothing happened, nothing is said");
	}
	is($node->sql('SELECT count(*) > 1 FROM shop.notes'), $happened ? 'f' : 't', "$name: as it is in the table");
	$node->sql("SELECT capi.forget_history('notes')", 'shop_owner');
	return;
}

sub move
{
	$points->let_go;
	$node->sql("INSERT INTO shop.parts (region, status) VALUES ('a', 'paid'), ('a', 'pending')", 'shop_owner');
	$node->wait_until_idle;
	$points->want($_[0]);
	# the first has been reported, the second is paid as it moves
	client("UPDATE shop.parts SET region = 'b', status = 'paid' WHERE region = 'a'");
	return;
}

sub move_again
{
	$node->sql("UPDATE shop.parts SET region = 'b', status = 'paid' WHERE region = 'a'", 'shop_owner');
	return;
}

# --- backfill ----------------------------------------------------------------------

# A thousand that are too old are the first part.
$node->sql("ALTER TABLE shop.late DISABLE TRIGGER capi_capture;"
	  . " INSERT INTO shop.late (at) SELECT now() - interval '8 days' FROM generate_series(1, 1000)", 'shop_owner');
my $backfill = "SET client_min_messages = warning; CALL capi.backfill('late', now() - interval '9 days', 'infinity')";

sub backfill
{
	my ($where, $part) = @_;

	$points->let_go;
	$node->sql('INSERT INTO shop.late (at) SELECT now() FROM generate_series(1, 3)', 'shop_owner');
	$points->want($where);
	client($backfill);
	for (2 .. $part // 1)
	{
		$points->stopped or die;
		$points->then($where);
	}
	return;
}

sub backfill_again
{
	my ($name, $state) = @_;

	is($node->sql('SELECT state FROM capi.backfill_progress ORDER BY started_at DESC LIMIT 1'), $state, "$name: it is shown as $state");
	$node->sql($backfill, 'shop_owner');
	return;
}

# Leads of both tables, each once; and a few twice that were in flight.
sub leads_ok
{
	my ($name) = @_;
	my @there = map { $_->{event_id} } sort { $a->{event_id} cmp $b->{event_id} } $sandbox->events(dataset => '222');
	my @here = sort split /\n/, $node->sql("SELECT 'late ' || id FROM shop.late WHERE at > now() - interval '7 days'"
		  . " UNION ALL SELECT 'parts ' || id FROM shop.parts WHERE status = 'paid'");

	is("@there", "@here", "$name: leads, too");
	return;
}

sub lead_repeats
{
	my $n = 0;

	$n += $_->{count} - 1 foreach $sandbox->events(dataset => '222');
	return $n;
}

# --- a clock that is set back ------------------------------------------------------

# Orders rest, by a clock that is an hour ahead, when that is put right.
sub set_clock_back
{
	my @ids = $node->place_orders(2);

	$points->let_go;
	$sandbox->misbehave(status => 503, times => undef);
	$world->set(clock => 3600);
	$node->sql("UPDATE shop.orders SET status = 'paid', paid_at = to_timestamp(" . int(time) . ') WHERE id IN (' . join(', ', @ids) . ')', 'shop_app');
	$node->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE status = 'retrying'") or die;
	$points->want($_[0]);
	$world->set;
	return;
}

# --- a session that delivers -------------------------------------------------------

sub deliver
{
	$node->pay($node->place_orders(3));
	client('CALL capi.deliver()', 'postgres');
	return;
}

sub deliver_again { return $node->sql('CALL capi.deliver()') }

# --- the table ---------------------------------------------------------------------

my @both = ('before commit', 'after commit');
my @step = (check => \&is_in_step);

my @table = (
	(map { [ "reading the audiences: $_", do => \&change_people, @step ] } @both),
	[ 'a reader has answered with people', do => \&change_people, @step ],
	(map { [ "keeping an audience in step: $_", do => \&change_people, @step, name => "a page: $_" ] } @both),
	(map { [ "preparing people of an audience: $_", do => \&change_people, @step ] } @both),
	[ 'after a request with people began', do => \&change_people, @step ],
	(map { [ $_, do => \&change_until, with => 0, @step, name => "those who go: $_" ] }
		'an answer came', map { "keeping an audience in step: $_" } @both),
	(map { [ $_, do => \&change_until, with => 1, @step, name => "those who come: $_" ] }
		map { "keeping an audience in step: $_" } @both),
	[ 'an answer came', do => \&change_until, with => 1, death => sub { kill_and($_[0], \&many_come) }, @step, name => 'an answer is lost, and more come than go into a request' ],
	(map { [ "forgetting an audience: $_", do => \&drop_another, check => \&is_forgotten ] } @both),

	(map { my $question = $_; map { [ "noting what Meta told: $_", do => sub { ask($question) }, check => \&is_told, with => $question, name => "$question: $_" ] } @both }
		qw(counts quality)),
	[ 'after a question began', do => sub { ask('counts') }, check => \&is_told, with => 'counts' ],
	(map { [ "looking what to ask: $_", do => \&to_warn, check => \&is_warned ] } @both),

	[ 'noting the states of datasets: before commit', do => \&pause_until, death => sub { kill_and($_[0], \&hear_states) }, check => \&is_told_once, with => 1 ],
	[ 'noting the states of datasets: after commit', do => \&pause_until, death => sub { kill_and($_[0], \&hear_states) }, check => \&is_told_once, with => 0 ],
	(map { [ "noting the states of datasets: $_", how => 'SIGTERM', do => sub { hear_states(); pause_until(@_) }, check => \&is_told_once, with => 1 ] } @both),

	(map { [ $_, do => \&refuse_one, keep => 1, after => \&is_rejected, in_flight => 1 ] } 'an event is a suspect', 'a suspect was judged'),
	(map { [ $_, do => \&redrive, after => \&redrive_again, name => "redrive of one order: $_", in_flight => 1 ] } 'before an order commits', 'after an order committed'),

	(map { [ "recording outcomes: $_", do => sub { forget_under_way($_[0], accept => 0, status => 500, code => 2) }, after => \&stays_forgotten,
			name => "forgotten while its request is under way, which fails: $_" ] } @both),
	(map { [ "recording outcomes: $_", do => sub { forget_under_way($_[0]) }, after => sub { stays_forgotten($_[0], 1) },
			name => "forgotten while its request is under way: $_" ] } @both),
	(map { [ "looking orders up: $_", do => \&forget_delivered, after => sub { stays_forgotten($_[0], 1) }, name => "forgotten, captured again: $_" ] } @both),

	[ 'before an order commits', do => \&renumber, after => sub { is_renumbered($_[0], 0) }, name => 'numbers begin again: before commit' ],
	[ 'after an order committed', do => \&renumber, after => sub { is_renumbered($_[0], 1) }, name => 'numbers begin again: after commit' ],
	(map { [ "counting what was missed: $_", do => \&renumber, after => sub { is_renumbered($_[0], 1) }, name => "noting that numbers begin again: $_" ] } @both),

	(map { [ $_, do => \&move, after => \&move_again, name => "a row moves between partitions: $_", in_flight => 1 ] }
		'after the row in the queue', 'before an order commits', 'after an order committed'),

	(map { [ $_->[0], do => \&backfill, after => \&backfill_again, with => $_->[1], in_flight => 3, part => $_->[2] ] }
		[ 'a backfill began', 'interrupted' ], [ 'a backfill has counted', 'interrupted' ],
		[ 'backfill: before commit', 'interrupted', 2 ], [ 'backfill: after commit', 'interrupted', 2 ], [ 'a backfill is done', 'done' ]),

	(map { [ "following the clock: $_", do => \&set_clock_back ] } @both),
);

my @by_session = (
	[ 'recording outcomes: before commit', in_flight => 3 ],
	[ 'recording outcomes: after commit' ],
	map { [ $_ ] } map { my $what = $_; map { "$what: $_" } @both } 'noting a delivery', "giving the sender's lock back");

# --- deaths --------------------------------------------------------------------------

sub wait_gone
{
	my ($pid) = @_;
	my $end = time + 10;

	usleep(10_000) while kill(0, $pid) && time < $end;
	return;
}

sub kill_hard
{
	my ($pid) = @_;
	my $log = $node->log_size;

	kill 'KILL', $pid;
	wait_gone($pid);
	$points->let_go;
	$node->wait_for_log(qr/database system is ready to accept connections/, $log);
	return;
}

# It goes on where the server lets nobody end.
sub ask_to_end
{
	my ($pid) = @_;

	kill 'TERM', $pid;
	usleep(100_000);
	$points->let_go;
	wait_gone($pid);
	return;
}

sub play
{
	my ($where, %round) = @_;
	my $name = sprintf '%s: %s', $round{how} // 'kill -9', $round{name} // $where;
	my ($before, $leads_before) = ($node->repeats, lead_repeats());

	$rounds++;
	$points->want($where);
	$round{do}->($where, $round{part} // $round{with});
	my $pid = $points->stopped;
	ok($pid, "$name: it comes there") or return;
	($round{death} // ($round{how} ? \&ask_to_end : \&kill_hard))->($pid);
	$sandbox->behave unless $round{keep};
	$sandbox->release;
	if ($client)
	{
		eval { $client->quit };
		undef $client;
	}
	# no growing delay before the next dispatcher
	$node->reload;
	$round{after}->($name, $round{with}) if $round{after};
	$node->wait_until_idle;
	$node->deliveries_ok("P3 P5: $name", max_repeats => $before + ($round{in_flight} // 0));
	cmp_ok(lead_repeats(), '<=', $leads_before + ($round{in_flight} // 0), "P5: $name: leads, too");
	leads_ok("P3: $name");
	$round{check}->($name, $round{with}) if $round{check};
	return;
}

my $began = time;
my $only = $ENV{CAPI_CRASH_POINT} // '';
is_in_step('at first');
$node->pay($node->place_orders(3));
$node->wait_until_idle;
foreach my $row (@table, map { [ @$_, do => \&deliver, after => \&deliver_again, name => "CALL capi.deliver(): $_->[0]" ] } @by_session)
{
	my ($where, %round) = @$row;

	next unless join(' ', $where, $round{name} // '') =~ /$only/;
	if ($round{do} == \&deliver && $node->dispatcher_runs)
	{
		$node->change('capi.databases' => '');
		$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
	}
	play($where, %round);
}
diag(sprintf '%d rounds in %.0f s', $rounds, time - $began);

done_testing();
