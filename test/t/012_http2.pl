# HTTP/2, which Meta offers and capi takes: requests share one connection,
# several at a time, and what fails there loses and repeats nothing.
use strict;
use warnings;

use File::Basename;
use IPC::Open2;
use JSON::PP;
use List::Util qw(sum);
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $IN_FLIGHT = 4;
my $PROGRAM = dirname(__FILE__) . '/../sandbox/http2_front.py';
my $tls_dir = PostgreSQL::Test::Utils::tempdir();
my $sandbox = CapiTest::Sandbox->new('--http');
my $true = JSON::PP::true();
my @fronts;

# An HTTP/2 server that hands each stream to the sandbox.
sub start_front
{
	my (@arguments) = @_;
	my $pid = open2(my $out, my $in, $ENV{CAPI_PYTHON} || 'python3', '-B', $PROGRAM,
		'--tls-dir', $tls_dir, '--to', $sandbox->port, @arguments);
	my $ready = <$out> // die "the HTTP/2 server did not start; is python3-h2 installed?";

	push @fronts, { %{ decode_json($ready) }, pid => $pid, in => $in };
	return $fronts[-1];
}

# The requests that arrived since, with the connections and streams they took.
sub streams_since
{
	my ($since) = @_;

	return map { {
			connection => $_->{headers}{'x-front-connection'},
			stream => $_->{headers}{'x-front-stream'},
			open => $_->{headers}{'x-front-streams-open'} } }
	  grep { $_->{call} eq 'events' } $sandbox->requests(since => $since, headers => 1);
}

sub last_request { my @all = $sandbox->requests; return @all ? $all[-1]{request} : 0 }
sub distinct { my %seen; $seen{$_} = 1 foreach @_; return scalar keys %seen }

my $front = start_front();
my $node = CapiTest::Node->create('main', conf => "capi.ca_file = '$front->{ca_file}'\n"
	  . "capi.max_in_flight = $IN_FLIGHT\ncapi.poll_interval = '500ms'");
$node->use_sandbox($sandbox);
$node->install_capi(endpoint => $front->{url});
$node->attach;

# as many requests as may be in flight, all unanswered, on one connection
$sandbox->misbehave(hang => $true, times => $IN_FLIGHT);
foreach my $n (1 .. $IN_FLIGHT)
{
	$node->pay($node->place_orders(5));
	ok($sandbox->wait_for(hanging => $n), "$n requests are under way at once");
}
my @streams = streams_since(0);
is(scalar @streams, $IN_FLIGHT, 'each is a stream');
is(distinct(map { $_->{connection} } @streams), 1, 'all of one connection');
is(distinct(map { $_->{stream} } @streams), $IN_FLIGHT, 'and of their own');
is($streams[-1]{open}, $IN_FLIGHT, 'open side by side');
$sandbox->release;
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: streams side by side');

# the ordinary case, in bulk
my $since = last_request();
$node->pay($node->place_orders(3000));
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: three thousand orders');
@streams = streams_since($since);
cmp_ok(scalar @streams, '>=', 3, 'in several requests');
is(scalar(grep { !defined $_->{stream} } @streams), 0, 'all of them over HTTP/2');
is(distinct(map { $_->{connection} } streams_since(0)), 1, 'still on the first connection');

# a stream that is reset fails alone
foreach my $cut ([ before => 0 ], [ after => 3 ])
{
	my ($when, $repeats) = @$cut;
	my $before = $node->repeats;

	$sandbox->misbehave(cut => $when);
	$node->pay($node->place_orders(3));
	$node->wait_until_idle;
	$node->deliveries_ok("P3 P5: a stream is reset $when judging", max_repeats => $before + $repeats);
	is($node->repeats, $before + $repeats, "$repeats events are repeated for it");
}
is(distinct(map { $_->{connection} } streams_since(0)), 1, 'the connection survives it');

# a server that says goodbye, as Meta's do
my $old = $front;
$front = start_front('--most-streams', 3);
$node->sql("SELECT capi.alter_dataset('main', endpoint => '$front->{url}')");
$since = last_request();
my $repeated = $node->repeats;
foreach my $n (1 .. 10)
{
	my $answered = sum(values %{ $sandbox->stats->{outcomes} });

	$node->pay($node->place_orders(20));
	ok($sandbox->wait_for(answered => $answered + 1), "request $n");
}
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: GOAWAY', max_repeats => $repeated);
cmp_ok(distinct(map { $_->{connection} } streams_since($since)), '>=', 3,
	'a new connection follows each goodbye');

# an answer that does not come: the request was sent, and may have been taken
$front = start_front();
$node->change('capi.request_timeout' => '1s');
$node->sql("SELECT capi.alter_dataset('main', endpoint => '$front->{url}')");
$node->sql("SELECT capi.set_access_token('main', 'sandbox-token')");
$node->pay($node->place_orders(1));
$node->wait_until_idle;
$repeated = $node->repeats;
my $now = $node->sql('SELECT clock_timestamp()');
$sandbox->misbehave(hang => $true);
$node->pay($node->place_orders(1));
ok($node->wait_for("SELECT string_agg(message, ' ') ~ '^no answer' FROM capi.request_log WHERE sent_at > '$now' AND http_status IS NULL"),
	'P10: no answer on a connection that is there is told as that')
  or diag($node->sql("SELECT message FROM capi.request_log WHERE sent_at > '$now'"));
$sandbox->behave;
$sandbox->release;
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: no answer', max_repeats => $repeated + 1);

foreach my $each (@fronts)
{
	close $each->{in};
	waitpid $each->{pid}, 0;
}
done_testing();
