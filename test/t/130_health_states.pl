# P10: the state of a dataset, why and since when; and that each change of it is
# notified once, by who sends, and holds up nobody.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, init => [ allows_streaming => 1 ],
	conf => "capi.poll_interval = '200ms'");

$node->install_capi;
$node->attach;

# anybody may listen, and reads no secret
my $listener = $node->session(role => 'shop_app');
$listener->sql('LISTEN capi');
my @heard;

sub hear
{
	push @heard, map { decode_json($_) } $listener->sql('SELECT 1') =~ /with payload "(\{.*\})" received/g;
	return @heard;
}

# The state is seen, and told; both with the same words, at the same time.
sub becomes
{
	my ($state, $reason, $name) = @_;

	ok($node->wait_for("SELECT state = '$state' FROM capi.health"), "P10: $name: $state")
	  or diag($node->sql('TABLE capi.health'));
	like($node->sql('SELECT reason FROM capi.health'), $reason, 'P10: with the reason');
	my $limit = time + 30;
	select undef, undef, undef, 0.05 until (hear() && $heard[-1]{state} eq $state) || time > $limit;
	is($heard[-1]{state}, $state, 'it is notified');
	is($heard[-1]{dataset}, 'main', 'with the dataset');
	is($node->sql("SELECT since = '$heard[-1]{since}'::timestamptz AND since > now() - interval '1 minute' FROM capi.health"), 't',
		'and since when');
	return;
}

sub buy { return $node->pay($node->place_orders($_[0] // 1)) }

# --- states ------------------------------------------------------------------------

ok($node->wait_for("SELECT state = 'idle' FROM capi.health"), 'P10: nothing was sold yet: idle');
$node->wait_for("SELECT count(*) = 1 FROM capi.dataset_state WHERE health = 'idle'") or die;
is(scalar(hear()), 0, 'which is no news');
buy();
becomes('ok', qr/sent as they come/, 'an order');
buy(3);
$node->wait_until_idle;

$node->sql("SELECT capi.pause_dataset('main')");
becomes('paused', qr/paused by/, 'pause_dataset()');
$node->sql("SELECT capi.resume_dataset('main')");
becomes('ok', qr/./, 'resume_dataset()');

$sandbox->misbehave(status => 503, times => undef);
buy();
becomes('backing_off', qr/requests fail/, 'an outage');
$sandbox->behave;
becomes('ok', qr/./, 'it is over');

$sandbox->misbehave(code => 80004, times => 1, throttle => { business => { estimated_time_to_regain_access => 5 } });
buy();
becomes('throttled', qr/slow down/, 'a throttle');
# who resumes it wants it tried now
$node->sql("SELECT capi.pause_dataset('main')");
becomes('paused', qr/paused by/, 'meanwhile');
$node->sql("SELECT capi.resume_dataset('main')");
becomes('ok', qr/./, 'it is over');

$sandbox->misbehave(code => 190, subcode => 463, message => 'words of Meta', times => undef);
buy();
becomes('credential', qr/error 190\/463: /, 'a dead token');
is($heard[-1]{error}, '190/463', 'P7: what Meta wrote is not told to all, but its number');
$sandbox->behave;
$node->sql("SELECT capi.set_access_token('main', '$CapiTest::Node::TOKEN')");
becomes('ok', qr/./, 'a new token');

$node->sql("SELECT capi.alter_dataset('main', test_event_code => 'TEST1')");
becomes('test_mode', qr/test_event_code/, 'test_event_code');
$node->sql("SELECT capi.alter_dataset('main', test_event_code => '')");
becomes('ok', qr/./, 'without');

$node->sql("DELETE FROM capi.secret; SELECT capi.alter_dataset('main', events_per_hour => 1000)");
becomes('no_token', qr/no access token is set/, 'no token');
$node->sql("SELECT capi.set_access_token('main', '$CapiTest::Node::TOKEN')");
becomes('ok', qr/./, 'a token');

$node->change('capi.enabled' => 'off');
becomes('disabled', qr/capi.enabled is off/, 'switched off');
$node->change('capi.enabled' => 'on');
becomes('ok', qr/./, 'on');

$node->sql("UPDATE capi.state SET system_identifier = 'another'");
becomes('held_identity', qr/copy/, 'a copy');
$node->sql('SELECT capi.confirm_identity()');
becomes('ok', qr/./, 'confirmed');

# an hour without an order
$node->sql("UPDATE capi.request SET sent_at = sent_at - interval '61 minutes'");
becomes('idle', qr/last hour/, 'an hour later');

# --- each change once ----------------------------------------------------------------

my @states = map { $_->{state} } hear();
is(join(' ', @states),
	'ok paused ok backing_off ok throttled paused ok credential ok test_mode ok no_token ok disabled ok held_identity ok idle',
	'each change is notified, and once');
unlike(encode_json(\@heard), qr/\Q$CapiTest::Node::TOKEN\E/, 'P8: no token');
is_deeply([ grep { !/^(?:dataset|error|since|state)$/ } map { keys %$_ } @heard ], [], 'nor who, where or why: anybody may listen');

$node->restart;
$node->dispatcher_pid;
$listener = $node->session;
$listener->sql('LISTEN capi');
my $since = $node->sql('SELECT since FROM capi.health');
$node->wait_until_idle;
buy();
becomes('ok', qr/./, 'after a restart');
is($heard[-2]{state}, 'idle', 'which itself is no news');

# --- locks and queues of others -------------------------------------------------------

# who notifies holds a lock of the server's until his commit has ended, here never
$node->change(synchronous_standby_names => 'nobody');
$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'") or die;
my $notifier = $node->session;
$notifier->pid;
$notifier->send("BEGIN; CREATE TABLE public.t (); NOTIFY other; COMMIT");
$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or die;
my $pid = $node->dispatcher_pid;
my $log = $node->log_size;
$sandbox->misbehave(status => 503, times => 1);
my $before = $sandbox->stats->{distinct_events};
my $shop = $node->session;
$shop->sql("SET synchronous_commit = local; UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE status <> 'paid'");
$shop->sql("INSERT INTO shop.orders (total, email, status, paid_at) SELECT n, 'n\@example.com', 'paid', now() FROM generate_series(1, 20) n");
ok($sandbox->wait_for(distinct_events => $before + 20), 'P6: while somebody holds the lock that notifying needs, orders go');
$node->wait_for("SELECT count(*) = (SELECT count(*) FROM shop.orders WHERE status = 'paid') FROM capi.delivery_status WHERE status = 'delivered'") or die;
$shop->sql("SELECT capi.pause_dataset('main')");
is($node->sql("SELECT state FROM capi.health"), 'paused', 'P10: the view knows');
ok($node->wait_for(q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'object' AND database = 0 AND objid = 0 AND NOT granted}),
	'the notification is tried');
ok($node->wait_for(q{SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'object' AND database = 0 AND objid = 0 AND NOT granted}),
	'and given up for now');
$node->change(synchronous_standby_names => '');
is($notifier->answer, '', 'the other goes on');
becomes('paused', qr/paused by/, 'P6: and then it is notified');
is($node->dispatcher_pid, $pid, 'P6: it is the same process');
unlike($node->log_since($log), qr/lock timeout.*capi|PANIC|FATAL/, 'without a word in the log');
$shop->sql("SELECT capi.resume_dataset('main')");
becomes('ok', qr/./, 'and goes on');

# --- nobody sends ----------------------------------------------------------------------

$node->change('capi.databases' => '');
ok($node->wait_for("SELECT state = 'not_running' FROM capi.health"), 'P10: no dispatcher: not_running');
like($node->sql('SELECT reason FROM capi.health'), qr/not in capi\.databases/, 'P10: and why');
is($node->sql("SELECT since <= now() FROM capi.health"), 't', 'P10: and since when');

# a session does the dispatcher's work, and its telling
$sandbox->misbehave(status => 503, times => 1);
buy();
$node->change(synchronous_standby_names => 'nobody');
$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'") or die;
$notifier->send("BEGIN; CREATE TABLE public.u (); NOTIFY other; COMMIT");
$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or die;
is($shop->sql('CALL capi.deliver()'), '', 'P6: a session delivers while somebody holds the lock');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'retrying'"), '1', 'P3: and records its outcome');
$node->change(synchronous_standby_names => '');
is($notifier->answer, '', 'the other goes on');
$node->sql('CALL capi.deliver()');
is($node->sql('SELECT state FROM capi.health'), 'ok', 'P10: who delivers now and then is told of no missing dispatcher');
$node->sql("UPDATE capi.state SET delivered_at = delivered_at - interval '20 minutes'");
is($node->sql('SELECT state FROM capi.health'), 'not_running', 'P10: until he does so no more');
is($node->sql("SELECT since = delivered_at FROM capi.health, capi.state"), 't', 'P10: since then');
is($node->repeats, 0, 'P5: nothing was sent twice');
$_->quit foreach $listener, $notifier, $shop;

done_testing();
