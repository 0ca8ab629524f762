# P8: what libraries gave back to malloc, or left on the stack, holds no token when
# a session has sent.  Over HTTP/2, as to Meta: nghttp2 keeps the header lines of a
# connection, and frees them as they are.
use strict;
use warnings;

use File::Basename;
use IPC::Open2;
use JSON::PP;
use Math::BigInt;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(slurp_file);

# as long as Meta's may be; a piece of it is as bad as all
my $token = 'EAA' . join '', map { sprintf 'Qz%06dW', $_ * 7919 } 1 .. 60;
my @pieces = map { substr $token, $_ * 18, 18 } 0 .. length($token) / 18 - 1;
my $sandbox = CapiTest::Sandbox->new('--http', '--token', $token);
my $pid = open2(my $out, my $in, $ENV{CAPI_PYTHON} || 'python3', '-B', dirname(__FILE__) . '/../sandbox/http2_front.py',
	'--tls-dir', PostgreSQL::Test::Utils::tempdir(), '--to', $sandbox->port);
my $front = decode_json(scalar <$out> // die 'the HTTP/2 server did not start; is python3-h2 installed?');
my $node = CapiTest::Node->create('main', preload => 0, conf => "capi.ca_file = '$front->{ca_file}'");

$node->use_sandbox($sandbox);
$node->install_capi(endpoint => $front->{url}, access_token => $token);
$node->attach;
$node->pay($node->place_orders(3));

# How many pieces of the token are in what the process has of its own.
sub pieces_in
{
	my ($session) = @_;
	my $found = 0;

	open my $mem, '<:raw', '/proc/' . $session->pid . '/mem' or die "cannot read the memory: $!";
	foreach my $mapping (split /\n/, slurp_file('/proc/' . $session->pid . '/maps'))
	{
		my ($from, $until) = $mapping =~ /^([0-9a-f]+)-([0-9a-f]+) rw-p / or next;
		my $size = Math::BigInt->from_hex($until)->bsub(Math::BigInt->from_hex($from))->numify;

		sysseek($mem, Math::BigInt->from_hex($from)->numify, 0) && sysread($mem, my $bytes, $size) or next;
		$found += grep { index($bytes, $_) >= 0 } @pieces;
	}
	close $mem;
	return $found;
}

foreach my $round (1 .. 3)
{
	my $session = $node->session;
	my $pid = $session->pid;

	$sandbox->misbehave(hang => JSON::PP::true(), times => 1);
	$session->send('CALL capi.deliver()');
	$sandbox->wait_for(hanging => 1) or die;
	cmp_ok(pieces_in($session), '>', 0, 'it is there while it is used') if $round == 1;
	$node->sql("SELECT pg_cancel_backend($pid)");
	like($session->answer, qr/canceling statement/, 'cancelled');
	is(pieces_in($session), 0, 'P8: nothing of the token is left after an error');
	$sandbox->behave;
	$sandbox->release;
	$session->quit;
}

my $session = $node->session;
$session->sql('CALL capi.deliver()');
$node->deliveries_ok('P3: delivered over HTTP/2', max_repeats => 9);
is(pieces_in($session), 0, 'P8: nor after the normal end');
$session->quit;
is(scalar(grep { !defined $_->{headers}{'x-front-connection'} } grep { $_->{call} eq 'events' } $sandbox->requests(headers => 1)), 0,
	'all of it came over HTTP/2');
close $in;
waitpid $pid, 0;
done_testing();
