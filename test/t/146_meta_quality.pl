# What Meta says of the quality of matching, once a day, and when a token ends.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $dataset = '1234567890';

$node->install_capi;
$node->attach;
$node->pay($node->place_orders(3));
$node->wait_until_idle;

# Due now; waits until it was answered.
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

sub state_of
{
	my ($question) = @_;

	return $node->sql("SELECT state FROM capi.meta_status WHERE dataset = 'main' AND question = '$question'");
}

# --- the quality of matching ---------------------------------------------------

is($node->sql('SELECT dataset, event_name, state FROM capi.meta_quality'), 'main||not asked', 'quality: not asked yet');
ask('quality');
is($node->sql('SELECT dataset, event_name, state FROM capi.meta_quality'), 'main||no data', 'no data yet');
is($node->sql("SELECT next_at > now() + interval '23 hours' FROM capi.meta_ask WHERE question = 'quality'"), 't', 'asked once a day');

my $purchase = {
	event_match_quality => {
		composite_score => 6.2,
		match_key_feedback => [
			{ identifier => 'email', coverage => { percentage => 90.5 } },
			{ identifier => 'phone', coverage => { percentage => 7 } },
			{ identifier => 'jane@example.com', coverage => { percentage => 7 } },
			{ identifier => 'jane_doe', coverage => { percentage => 7 } },
			{ identifier => 'fbc', coverage => { percentage => 'Jane' } } ],
		diagnostics => [ { name => 'n', description => 'Jane Doe', solution => 's', percentage => 1 } ] },
	event_name => 'Purchase',
	event_coverage => { percentage => 70, goal_percentage => 75, description => 'Jane Doe' },
	dedupe_key_feedback => [ {
		dedupe_key => 'event_id',
		browser_events_with_dedupe_key => { percentage => 99 },
		server_events_with_dedupe_key => { percentage => 100 },
		overall_browser_coverage_from_dedupe_key => { percentage => 64 } } ],
	data_freshness => { upload_frequency => 'REAL_TIME', description => 'Jane Doe' },
	acr => { percentage => 3 } };
$sandbox->post('quality', { dataset => $dataset, web => [
	$purchase, { event_name => 'jane@example.com', event_match_quality => { composite_score => 1 } },
	{ event_name => 'Lead', event_match_quality => { composite_score => 1e6 } } ] });
my $expected = join "\n",
	'Purchase|additional_conversions||3', 'Purchase|dedupe_browser|event_id|99', 'Purchase|dedupe_overall|event_id|64',
	'Purchase|dedupe_server|event_id|100', 'Purchase|event_coverage||70', 'Purchase|event_coverage_goal||75',
	'Purchase|match_key|email|90.5', 'Purchase|match_key|phone|7', 'Purchase|match_quality||6.2',
	'Purchase|upload_frequency|real_time|';
my $quality = 'SELECT event_name, measure, key, value FROM capi.meta_quality ORDER BY 1, 2, 3';
ask('quality');
is($node->sql($quality), $expected, 'numbers and names are kept, and nothing else');
is($node->sql("SELECT DISTINCT state, asked_at > now() - interval '1 minute' FROM capi.meta_quality"), 'ok|t', 'state and time');

foreach my $case (
	[ 'HTML', { html => JSON::PP::true, status => 200 }, 'no answer' ],
	[ 'an outage', { status => 503 }, 'no answer' ],
	[ 'a throttle', { code => 4 }, 'throttled' ],
	[ 'members of other kinds', { status => 200, body => '{"web": {"event_name": [], "acr": 7}}' }, 'no data' ],
	[ 'numbers in it', { status => 200, body => '{"web": [7, null, [[{"event_name": "x"}]], {"event_match_quality": 7}]}' }, 'no data' ],
	[ 'no permission', { code => 100, message => '(#100) Missing Permission' }, 'not permitted' ],
	[ 'a dead token', { code => 190, status => 401 }, 'not permitted' ])
{
	my ($what, $plan, $state) = @$case;

	$sandbox->misbehave(match => { call => 'dataset_quality' }, times => undef, %$plan);
	ask('quality');
	is(state_of('quality'), $state, "$what: $state");
	$sandbox->behave;
}
is($node->sql($quality), $expected, 'the last answer stays in view');
is($node->sql("SELECT reason FROM capi.meta_status WHERE question = 'quality'"), 'error 190: the token is not valid', 'the reason is in our words');
like($node->sql('SELECT state FROM capi.health'), qr/^(active|ok)$/, 'P6: none of it concerns sending');

# --- the end of the token --------------------------------------------------------

my $token_end = 'SELECT extract(epoch FROM token_expires_at)::bigint FROM capi.health';
my $expiry = "SELECT ok, hint FROM capi.diagnose() WHERE \"check\" = 'token expiry'";

is($node->sql($token_end), '', 'the end of the token: not known');
ask('token');
is(state_of('token'), 'ok', 'a token may look at itself');
is($node->sql($token_end), '', 'one that never ends');
is($node->sql($expiry), 't|', 'no warning');

my $now = int time;
foreach my $case ([ 20, 0, '' ], [ 13, 1, 14 ], [ 6, 1, 7 ], [ 0.9, 1, 1 ])
{
	my ($days, $warns, $limit) = @$case;
	my $end = $now + int($days * 86400);
	my $log = $node->log_size;

	$sandbox->post('tokens', { add => [ { token => 'sandbox-token', expires_at => $end } ] });
	ask('token');
	is($node->sql($token_end), $end, "in $days days: known");
	is($node->sql($expiry), $warns ? 'f|Make a new one and set it with capi.set_access_token().' : 't|', "in $days days: diagnose()");
	ask('token');
	$node->sql('SELECT capi._config_changed()');
	if ($warns)
	{
		my $line = qr/LOG:  the access token of dataset "main" expires in less than $limit day/;

		$node->wait_for("SELECT warned_days = $limit FROM capi.meta_ask WHERE question = 'token'", 10);
		my @told = $node->log_since($log) =~ /$line/g;
		is(scalar @told, 1, "in $days days: one line in the log");
	}
	else
	{
		unlike($node->log_since($log), qr/expires in less/, "in $days days: none in the log");
	}
}
is((scalar grep { $_->{token_in_url} } $sandbox->requests), 0, 'P8: no token was in a URL');
unlike($node->log_since(0), qr/sandbox-token/, 'P8: nor in the log');
is((scalar grep { $_->{call} eq 'debug_token' && $_->{method} ne 'POST' } $sandbox->requests), 0, 'it went in the body');

# a new token: what was known is of the old one, and it is asked again at once
$sandbox->misbehave(match => { call => 'debug_token' }, times => undef, status => 503);
$sandbox->post('tokens', { add => ['a-new-token'] });
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'a-new-token')");
is($node->sql($token_end), '', 'with a new token the end is not known');
is($node->sql($expiry), 't|', 'and nobody is warned');
$sandbox->behave;
$sandbox->post('tokens', { add => [ { token => 'a-new-token', expires_at => $now + 86400 * 60 } ] });
ask('token');
is($node->sql($token_end), $now + 86400 * 60, 'until it was asked');
is($node->sql($expiry), 't|', 'no warning for 60 days');

# who may not look
foreach my $case ([ 'no permission', { code => 100 }, 'not permitted' ], [ 'nonsense', { status => 200, body => '{"data": {"expires_at": "soon"}}' }, 'no answer' ],
	[ 'a list', { status => 200, body => '{"data": [1]}' }, 'no answer' ], [ 'not documented', { code => 100, subcode => 33 }, 'not permitted' ])
{
	my ($what, $plan, $state) = @$case;

	$sandbox->misbehave(match => { call => 'debug_token' }, times => undef, %$plan);
	ask('token');
	is(state_of('token'), $state, "$what: $state");
	$sandbox->behave;
}
is($node->sql($token_end), $now + 86400 * 60, 'what was known stays');

# --- in a session, without a dispatcher -------------------------------------------

$node->change('capi.databases' => '');
ok($node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'", 20), 'no dispatcher');
my $asked = $node->sql("UPDATE capi.meta_ask SET next_at = now() WHERE question = 'token' RETURNING asked_at");
$node->sql('CALL capi.deliver()');
is($node->sql("SELECT asked_at > '$asked' FROM capi.meta_ask WHERE question = 'token'"), 't', 'capi.deliver() asks, too');

done_testing();
