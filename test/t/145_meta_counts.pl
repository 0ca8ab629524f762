# What Meta counted, beside what was delivered; and that asking it is in nobody's way.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.stats_interval = '1h'");
my $reader = 'a-token-for-counts-only';
my $dataset = '1234567890';

$node->install_capi;
$node->attach;
$sandbox->post('tokens', { add => [ { token => $reader, scopes => ['ads_read'] } ] });

sub asked { my ($call) = @_; return scalar $sandbox->requests(call => $call) }

sub state_of
{
	my ($question) = @_;

	return $node->sql("SELECT state FROM capi.meta_status WHERE dataset = 'main' AND question = '$question'");
}

# Everything is due now; waits until the question was answered again.
sub ask
{
	my ($question) = @_;
	my $before = $node->sql("SELECT coalesce((SELECT asked_at FROM capi.meta_ask WHERE question = '$question'), '-infinity')");

	$node->sql("INSERT INTO capi.meta_ask (dataset_id, question, asked_at, next_at, state)"
		  . " SELECT id, '$question', '-infinity', now(), 'no data' FROM capi.dataset WHERE name = 'main'"
		  . " ON CONFLICT (dataset_id, question) DO UPDATE SET next_at = now(); SELECT capi._config_changed()");
	ok($node->wait_for("SELECT asked_at > '$before' AND next_at > now() FROM capi.meta_ask WHERE question = '$question'", 20),
		"$question: asked and answered")
	  or diag($node->sql('SELECT * FROM capi.meta_ask'));
	return;
}

sub counts
{
	my ($condition) = @_;

	return $node->sql("SELECT event_name, delivered, counted, difference, verdict FROM capi.meta_counts"
		  . " WHERE $condition ORDER BY hour, event_name");
}

# --- nothing is asked of a young dataset, nor before anything is due ---------

$node->pay($node->place_orders(40));
$node->wait_until_idle;
is($node->sql("SELECT DISTINCT state FROM capi.meta_status"), 'not asked', 'nothing is asked of a dataset that was just made');
is((scalar grep { $_->{method} ne 'POST' } $sandbox->requests), 0, 'so no request but those with events');
is($node->sql("SELECT DISTINCT verdict || ', ' || reason FROM capi.meta_counts"), 'not told, not asked', 'which the view tells');

# --- the token of the sender may not ------------------------------------------

ask('counts');
is(state_of('counts'), 'not permitted', 'the token for sending may not read counts: a state');
is($node->sql("SELECT reason FROM capi.meta_status WHERE question = 'counts'"),
	'error 100: the token may not read this', 'with a reason in our words');
is($node->sql("SELECT next_at > now() + interval '23 hours' FROM capi.meta_ask WHERE question = 'counts'"), 't',
	'and it is asked again tomorrow');
like($node->sql('SELECT state FROM capi.health'), qr/^(active|ok)$/, 'P6: which does not concern sending');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
is(asked('stats'), 1, 'no retries');

# --- one that may ---------------------------------------------------------------

my $hour = $node->sql('SELECT extract(epoch FROM capi._hour(now()))::bigint');
$sandbox->post('count', { dataset => $dataset, hour => $hour - 5 * 3600, event_name => 'Purchase', count => 7 });
$sandbox->post('count', { dataset => $dataset, hour => $hour - 6 * 3600, event_name => 'jane@example.com', count => 3 });
$node->sql("UPDATE capi.dataset SET created_at = now() - interval '10 days'; UPDATE capi.meta_ask SET ask_from = NULL");
my $log = $node->log_size;
$node->sql("SET client_min_messages = error; SELECT capi.set_stats_token('main', '$reader')", 'shop_owner');
ok($node->wait_for("SELECT state = 'ok' AND next_at > now() FROM capi.meta_ask WHERE question = 'counts'", 30),
	'a token for counts is used at once') or diag($node->sql('SELECT * FROM capi.meta_ask'));
is($node->sql("SELECT count(*) FROM capi.meta_count WHERE event_name = ''"), 7 * 24, 'seven days are read, hour by hour');
cmp_ok(asked('stats'), '<=', 1 + 8, 'a day at a time');
is((scalar grep { $_->{token_in_url} } $sandbox->requests), 0, 'P8: no token was in a URL');
is($node->sql("SELECT sum(counted) FROM capi.meta_count WHERE event_name = 'Purchase'"), 48, 'what was counted is there');
is($node->sql("SELECT count(*) FROM capi.meta_count WHERE event_name ~ '\@'"), 0, 'P7: what is no name of an event is not kept');
is(counts("hour = capi._hour(now()) - interval '5 hours'"), 'Purchase|0|7|7|more', 'what somebody else sent is more');
is(counts("hour >= to_timestamp($hour)"), 'Purchase|41|41|0|open', 'the present hour is open');
is($node->sql("SELECT count(*) FROM capi.secret WHERE kind = 'stats_token'"), 1, 'the token is stored');

$node->sql("CREATE ROLE onlooker LOGIN; SELECT capi.grant_access('onlooker', 'reader')");
is($node->sql("SELECT (SELECT count(*) > 0 FROM capi.meta_counts), (SELECT count(*) > 0 FROM capi.meta_quality),"
	  . " (SELECT count(*) FROM capi.meta_status), (SELECT count(token_expires_at) FROM capi.health)", 'onlooker'), 't|t|3|0',
	'P9: a reader sees the views');

# --- verdicts ---------------------------------------------------------------------

# Makes the orders so many hours older, for us and for Meta.
sub age
{
	my ($hours, $counted) = @_;

	$node->sql("UPDATE capi.delivery SET finished_at = finished_at - interval '$hours hours', event_time = event_time - interval '$hours hours'");
	$sandbox->post('count', { dataset => $dataset, hour => $hour, event_name => 'Purchase', count => -41 }) if defined $counted;
	$sandbox->post('count', { dataset => $dataset, hour => $hour - $hours * 3600, event_name => 'Purchase', count => $counted }) if defined $counted;
	return;
}

SKIP:
{
	skip 'the hour turned', 8 if $node->sql('SELECT extract(epoch FROM capi._hour(now()))::bigint') != $hour;
	my $at = "hour = to_timestamp($hour) - interval '10 hours'";

	age(10, 41);
	ask('counts');
	is(counts($at), 'Purchase|41|41|0|agrees', 'what is equal agrees');
	foreach my $case ([ -3, 'agrees' ], [ -2, 'fewer' ], [ 15, 'more' ])
	{
		$sandbox->post('count', { dataset => $dataset, hour => $hour - 36000, event_name => 'Purchase', count => $case->[0] });
		ask('counts');
		like(counts($at), qr/\|$case->[1]$/, "after $case->[0]: $case->[1]");
	}
	$sandbox->post('count', { dataset => $dataset, hour => $hour - 36000, event_name => 'Purchase', count => -31 });
	$sandbox->post('count', { dataset => $dataset, hour => $hour - 32400, event_name => 'Purchase', count => 21 });
	ask('counts');
	like(counts($at), qr/^Purchase\|41\|20\|-21\|agrees$/, 'at the turn of an hour the next one counts, too');
}

# --- bad answers ------------------------------------------------------------------

my $kept = $node->sql('SELECT count(*), sum(counted) FROM capi.meta_count');
my @bad = (
	[ 'HTML', { html => JSON::PP::true, status => 200 }, 'no answer' ],
	[ 'an outage', { html => JSON::PP::true }, 'no answer' ],
	[ 'garbage', { garbage => JSON::PP::true, status => 200 }, 'no answer' ],
	[ 'a list', { body => '[]', status => 200 }, 'no answer' ],
	[ 'another object', { body => '{"data": 7}', status => 200 }, 'no answer' ],
	[ 'a deep one', { body => '{"data":' . '[' x 30000, status => 200 }, 'no answer' ],
	[ 'a number without end', { body => '{"data": [1e999999]}', status => 200 }, 'no answer' ],
	[ 'a NUL', { body => '{"data": ["\u0000"]}', status => 200 }, 'no answer' ],
	[ 'a throttle', { code => 80004, throttle => { business => { estimated_time_to_regain_access => 200 } } }, 'throttled' ],
	[ 'no answer', { cut => 'before' }, 'no answer' ]);
foreach my $case (@bad)
{
	my ($what, $plan, $state) = @$case;

	$sandbox->misbehave(match => { call => 'stats' }, times => undef, %$plan);
	ask('counts');
	is(state_of('counts'), $state, "$what: $state");
	$sandbox->behave;
}
is($node->sql('SELECT count(*), sum(counted) FROM capi.meta_count'), $kept, 'none of it changed what was known');
$sandbox->misbehave(match => { call => 'stats' }, times => undef, code => 80004,
	throttle => { business => { estimated_time_to_regain_access => 200 } });
ask('counts');
is($node->sql("SELECT next_at > now() + interval '190 minutes' FROM capi.meta_ask WHERE question = 'counts'"), 't',
	'a throttle is heeded');
$sandbox->behave;
foreach my $body ('{"data": []}', '{"data": [7, null, {"start_time": "2026-02-31T25:61:61+0000", "data": [{"value": "Purchase", "count": 9}]},'
	  . ' {"start_time": [], "data": {}}, {"start_time": 99999999999, "data": [{"value": {}, "count": "x"}, {"count": -1}, {"value": "Purchase", "count": 1e30}]}]}')
{
	$sandbox->misbehave(match => { call => 'stats' }, times => undef, status => 200, body => $body);
	ask('counts');
	is(state_of('counts'), 'ok', 'odd members are passed over');
	$sandbox->behave;
}
ask('counts');
is($node->sql('SELECT sum(counted) FROM capi.meta_count'), (split /\|/, $kept)[1], 'and known again');

# --- pages, and answers that are too large ---------------------------------------

$sandbox->post('paging', { hours => 2 });
foreach my $back (1 .. 20)
{
	$sandbox->post('count', { dataset => $dataset, hour => $hour - (30 + $back) * 3600, event_name => 'Lead', count => $back });
}
$node->sql("DELETE FROM capi.meta_count; UPDATE capi.meta_ask SET ask_from = NULL, hours = NULL WHERE question = 'counts'");
ask('counts');
is($node->sql("SELECT count(*), sum(counted) FROM capi.meta_count WHERE event_name = 'Lead'"), '20|210',
	'an answer with more pages: all is read, without their addresses');
$sandbox->post('paging', { hours => undef });
foreach my $name (1 .. 900)
{
	$sandbox->post('count', { dataset => $dataset, hour => $hour - (60 + $name % 9) * 3600, event_name => 'Lead' . 'x' x 80 . $name, count => 1 });
}
$node->sql("DELETE FROM capi.meta_count; UPDATE capi.meta_ask SET ask_from = NULL, hours = NULL WHERE question = 'counts'");
ask('counts');
is(state_of('counts'), 'ok', 'an answer of more than 64 kB');
is($node->sql("SELECT sum(counted) FROM capi.meta_count WHERE event_name = '(other)'"), 903, 'is asked for in parts');

# --- in nobody's way ------------------------------------------------------------

$sandbox->misbehave(match => { call => [ 'stats', 'dataset_quality', 'debug_token' ] }, hang => JSON::PP::true, times => undef);
$node->sql("UPDATE capi.meta_ask SET next_at = now(); SELECT capi._config_changed()");
ok($sandbox->wait_for(hanging => 1, timeout_s => 10), 'a question that hangs');
my $sent = $sandbox->stats->{events};
$node->change('capi.max_in_flight' => 1);
$node->pay($node->place_orders(30));
ok($sandbox->wait_for(events => $sent + 30, timeout_s => 8), 'P6: orders go on');
is($sandbox->hanging, 1, 'one question at a time');
is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'capi dispatcher' AND xact_start IS NOT NULL AND state ~ 'idle'"), 0,
	'P11: and no transaction is open');
$sandbox->behave;
$sandbox->release;
$node->change('capi.max_in_flight' => 4);

# --- off --------------------------------------------------------------------------

$node->change('capi.stats_interval' => 0);
ok($node->wait_for("SELECT count(*) = 0 FROM capi.delivery_status WHERE status <> 'delivered'", 10), 'idle');
my $questions = scalar grep { $_->{call} ne 'events' } $sandbox->requests;
$node->sql("UPDATE capi.meta_ask SET next_at = now(); SELECT capi._config_changed()");
$node->pay($node->place_orders(5));
$node->wait_until_idle;
is((scalar grep { $_->{call} ne 'events' } $sandbox->requests), $questions, 'with capi.stats_interval = 0 nothing is asked');

# --- the token --------------------------------------------------------------------

unlike($node->log_since(0), qr/\Q$reader\E|sandbox-token/, 'P8: no token in the log');
unlike($node->log_since($log), qr/ERROR:/, 'and nothing failed');
like($node->refuses("SELECT capi.set_stats_token('main', '$reader with a space')"), qr/invalid access token/, 'a bad one is refused');
unlike($node->log_since($log), qr/with a space/, 'P8: and not told');
$node->sql("SELECT capi.set_stats_token('main', NULL)");
is($node->sql("SELECT count(*) FROM capi.secret WHERE kind = 'stats_token'"), 0, 'null removes it');

# one goes where it was given for, and nowhere else
my $other = $sandbox->another;
$node->change('capi.stats_interval' => '1h');
$node->sql("SET client_min_messages = error; SELECT capi.set_stats_token('main', '$reader')", 'shop_owner');
$node->sql("SET client_min_messages = error; SELECT capi.alter_dataset('main', endpoint => '" . $other->url . "', access_token => 'sandbox-token')", 'shop_owner');
ask('counts');
is((scalar grep { $_->{call} eq 'stats' && defined $_->{token} } $other->requests), scalar(grep { $_->{call} eq 'stats' } $other->requests),
	'P8: another endpoint gets no token that was not meant for it');
cmp_ok(scalar(grep { $_->{call} eq 'stats' } $other->requests), '>', 0, 'but the other one');

done_testing();
