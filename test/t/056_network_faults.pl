# P3, P5, P6: what a network does: nobody listens, nobody answers, half answers,
# certificates of others, names that lead nowhere.  The fault is told, orders wait
# and arrive once it is over, and another dataset goes on all the while.
use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $other = $sandbox->another;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.connect_timeout = '1s'\ncapi.request_timeout = '2s'\ncapi.poll_interval = '300ms'");

$node->install_capi;
$node->attach;
# another shop's dataset, at an endpoint that works
$node->create_dataset(name => 'sound', dataset_id => '222', endpoint => $other->url);
$node->sql(q{
CREATE TABLE shop.sound (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
GRANT INSERT, SELECT ON shop.sound TO shop_app}, 'shop_owner');
$node->attach(source => 'sound', table_name => 'shop.sound', dataset => 'sound', on_column => undef, on_values => undef,
	query => q{SELECT id AS key, now() AS event_time, 1 AS value, 'EUR' AS currency, 'a@b.example' AS em,
		'https://shop.example/' AS event_source_url, 'agent' AS client_user_agent FROM shop.sound});

my $sound = 0;

sub endpoint_is
{
	my ($url) = @_;

	$node->sql("SET client_min_messages = error; SELECT capi.alter_dataset('main', endpoint => '$url');"
		  . " SELECT capi.set_access_token('main', 'sandbox-token')");
	return;
}

sub requests { return $sandbox->requests(call => 'events', dataset => $node->dataset_id) }

# Events that arrived while the fault lasted: these may be repeated.
my $unclear = 0;

# Those of the requests from the first to the last one; what is under way may be
# judged a moment later.
sub note_unclear
{
	my ($first, $last) = @_;
	my @these;
	my $end = time + 15;

	do
	{
		@these = (requests())[ $first .. $last ];
	} while (time < $end && grep { $_->{outcome} =~ /^(open|hanging)$/ } @these);
	$unclear += $_->{accepted} // 0 foreach @these;
	return;
}

# Orders while it lasts, and when it is over.
sub fault
{
	my ($name, $told, %options) = @_;
	my @ids = $node->place_orders(5);
	my $now = $node->sql('SELECT clock_timestamp()');

	my $first = requests();

	$options{begin}->();
	$node->pay(@ids);
	ok($node->wait_for("SELECT last_error ~ '$told' FROM capi.health WHERE dataset = 'main'"
			. " AND EXISTS (SELECT FROM capi.request_log WHERE sent_at > '$now' AND message ~ '$told')", 15),
		"P10: $name: it is told") or diag($node->sql('SELECT DISTINCT message FROM capi.request_log'));
	$node->sql('INSERT INTO shop.sound DEFAULT VALUES', 'shop_app') foreach 1 .. 3;
	$sound += 3;
	ok($other->wait_for(distinct_events => $sound, timeout_s => 10), "P6: $name: another dataset goes on");
	is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE source = 'paid_orders' AND status NOT IN ('queued', 'retrying', 'delivered')"),
		0, "P3: $name: nothing is given up");
	$options{end}->();
	note_unclear($first, requests() - 1);
	$node->sql("SELECT capi.resume_dataset('main')");
	$node->wait_until_idle;
	$node->deliveries_ok("P3 P5: $name", max_repeats => $unclear);
	return;
}

sub elsewhere
{
	my ($name, $told, $url) = @_;

	fault($name, $told, begin => sub { endpoint_is($url) }, end => sub { endpoint_is($sandbox->url) });
	return;
}

sub misbehaviour
{
	my ($name, $told, %plan) = @_;

	fault($name, $told, begin => sub { $sandbox->misbehave(%plan, times => undef) }, end => sub { $sandbox->behave; $sandbox->release });
	return;
}

sub certificate
{
	my ($kind, $told) = @_;
	my $use = sub { $sandbox->post('certificate', { use => $_[0] }); $sandbox->post('disconnect'); return };

	fault("a certificate: $kind", $told, begin => sub { $use->($kind) }, end => sub { $use->('good') });
	return;
}

# --- nobody there -------------------------------------------------------------------

# a port that was open a moment ago
my $closed = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
my $closed_port = $closed->sockport;
close $closed;
elsewhere('refused', 'not connected: Failed to connect', "https://127.0.0.1:$closed_port");

# One whose queue of connections is full drops what comes, as a black hole does.
my $hole = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
my $hole_port = $hole->sockport;
my @fill;
foreach (1 .. 8)
{
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $hole_port, Timeout => 1, Blocking => 0);
	push @fill, $socket if $socket;
}
elsewhere('a black hole', 'not connected: .*(Timeout|timed out)', "https://127.0.0.1:$hole_port");

# Half open: the connection is made, and nobody speaks.
my $mute = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die;
elsewhere('half open', 'not connected: .*(timeout|timed out)', 'https://127.0.0.1:' . $mute->sockport);

# --- names ---------------------------------------------------------------------------

elsewhere('a name that does not resolve', 'host name not found: Could not resolve', 'https://graph.shop.invalid');

# --- certificates --------------------------------------------------------------------

certificate('expired', 'expired');
certificate('other name', 'no secure connection');
certificate('unknown signer', 'no secure connection');

# --- answers -------------------------------------------------------------------------

misbehaviour('cut before the events are read', 'connection', cut => 'before');
misbehaviour('cut after they were', 'connection', cut => 'after');
misbehaviour('cut in the middle of the answer', 'connection|answer', cut => 'middle');
misbehaviour('no answer', 'no answer', hang => JSON::PP::true(), accept => JSON::PP::true());
misbehaviour('a slow drip', 'no answer', drip => { bytes => 1, every_ms => 700 });
misbehaviour('a chunk that is none', 'answer|connection', framing => 'broken');
misbehaviour('an answer without an end', 'answer|large', huge => 100_000_000);

# connections that are closed behind our back are no fault at all
$sandbox->misbehave(close => 'silent', times => undef);
foreach (1 .. 3)
{
	$node->pay($node->place_orders(3));
	$node->wait_until_idle(15);
}
$sandbox->behave;
$node->deliveries_ok('P3: connections that were closed silently', max_repeats => $unclear + 9);
is($other->stats->{distinct_events}, $sound, 'P6: the other dataset got all of its own');
is($other->stats->{events}, $sound, 'P5: each once');

done_testing();
