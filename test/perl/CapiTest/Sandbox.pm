package CapiTest::Sandbox;

=pod

=head1 NAME

CapiTest::Sandbox - the stand-in for Meta's API as a Perl object

=head1 SYNOPSIS

  use CapiTest::Sandbox;

  my $sandbox = CapiTest::Sandbox->new('--token', 'good', '--dataset', '42');
  $sandbox->misbehave(status => 503, times => 2);
  ok($sandbox->wait_for(events => 10), 'ten events arrive');
  is($sandbox->stats->{duplicates}, 0, 'each once');
  $sandbox->call(POST => 'tokens', { revoke => ['good'] });
  $sandbox->stop;

=head1 DESCRIPTION

Runs F<test/sandbox/sandbox.py>, which ends with this process at the latest.
What the control API understands is told in F<test/sandbox/README.md>.

=cut

use strict;
use warnings;

use Carp;
use File::Basename;
use File::Spec;
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;

use PostgreSQL::Test::Utils;

my $PROGRAM = File::Spec->rel2abs(dirname(__FILE__) . '/../../sandbox/sandbox.py');

=pod

=head1 METHODS

=over

=item CapiTest::Sandbox->new(@arguments)

Starts it over TLS, unless the arguments, which are those of sandbox.py, say
otherwise; returns when it is ready.

=cut

sub new
{
	my ($class, @arguments) = @_;
	my $python = $ENV{CAPI_PYTHON} || 'python3';
	my $tls_dir = PostgreSQL::Test::Utils::tempdir();
	my $pid = open2(my $out, my $in, $python, '-B', $PROGRAM,
		'--exit-with-parent', '--tls-dir', $tls_dir, @arguments);
	my $ready = <$out> // croak 'the sandbox did not start';

	return bless {
		%{ decode_json($ready) },
		process => $pid,
		in => $in,
		out => $out }, $class;
}

=pod

=item $sandbox->another(@arguments)

Starts one more, at another address, that the same C<capi.ca_file> trusts.

=cut

sub another
{
	my ($self, @arguments) = @_;

	return ref($self)->new('--tls-dir', dirname($self->ca_file), @arguments);
}

=pod

=item url, ca_file, port, control_url

Where it is: address of the edge, certificate authority to trust (undefined
without TLS), port of the edge, address of the control API.

=cut

sub url { return $_[0]{url} }
sub ca_file { return $_[0]{ca_file} }
sub port { return $_[0]{port} }
sub control_url { return $_[0]{control_url} }

=pod

=item $sandbox->call($method, $path, $body)

Calls C</sandbox/$path> of the control API, with the body as JSON, and returns
its answer; dies when it refuses.

=cut

sub call
{
	my ($self, $method, $path, $body) = @_;
	my %options = (headers => { 'content-type' => 'application/json' });

	$options{content} = encode_json($body) if defined $body;
	# Whatever proxy the environment names has no business on loopback.
	my $answer = HTTP::Tiny->new(
		timeout => 120,
		proxy => undef,
		http_proxy => undef)
	  ->request($method, $self->control_url . "/sandbox/$path", \%options);
	croak "sandbox: $answer->{status} $answer->{content}"
	  unless $answer->{success};
	return decode_json($answer->{content});
}

=pod

=item $sandbox->get($path), $sandbox->post($path, $body), $sandbox->delete($path)

The same, by method.

=cut

sub get { my ($self, @rest) = @_; return $self->call('GET', @rest) }
sub post { my ($self, @rest) = @_; return $self->call('POST', @rest) }
sub delete { my ($self, @rest) = @_; return $self->call('DELETE', @rest) }

=pod

=item $sandbox->stats, $sandbox->events(%match), $sandbox->requests(%limits)

The counters; the accepted events as a list of hashes, chosen by C<dataset>,
C<event_name>, C<event_id>, C<limit>, C<brief>; the requests as a list of
hashes, oldest first, chosen by C<event_id>, C<dataset>, C<call>, C<outcome>,
C<code>, C<subcode>, C<since>, C<limit>, and with C<headers>.

=cut

sub stats { return $_[0]->get('stats') }

sub events
{
	my ($self, %match) = @_;

	return @{ $self->get('events?' . query_text(limit => 1_000_000, %match))
		  ->{events} };
}

sub requests
{
	my ($self, %limits) = @_;

	return @{ $self->get('requests?' . query_text(limit => 1_000_000, %limits))
		  ->{requests} };
}

sub query_text
{
	my (%members) = @_;

	return HTTP::Tiny->new->www_form_urlencode(\%members);
}

=pod

=item $sandbox->hanging

How many requests hang now.

=cut

sub hanging { return scalar grep { $_->{outcome} eq 'hanging' } $_[0]->requests }

=pod

=item $sandbox->misbehave(%plan), $sandbox->behave, $sandbox->release

Plans a failure; forgets all plans; lets the requests go that hang.

=cut

sub misbehave { my ($self, %plan) = @_; return $self->post('misbehave', \%plan) }
sub behave { return $_[0]->delete('misbehave') }
sub release { return $_[0]->post('release') }

=pod

=item $sandbox->reset

Forgets events, requests, counters and plans; tokens stay.

=cut

sub reset { return $_[0]->post('reset') }

=pod

=item $sandbox->wait_for(%goals)

Waits until the counters reach the goals: C<events>, C<distinct_events>,
C<requests>, C<answered>, C<hanging>; at most C<timeout_s> seconds, by
default PostgreSQL::Test::Utils::timeout_default.  Returns whether they did.

=cut

sub wait_for
{
	my ($self, %goals) = @_;
	my $left = CORE::delete $goals{timeout_s}
	  // $PostgreSQL::Test::Utils::timeout_default;

	# In slices, because the control call itself may take two minutes only.
	while (1)
	{
		my $slice = $left < 60 ? $left : 60;

		$left -= $slice;
		return 1
		  if $self->get('wait?' . query_text(%goals, timeout_s => $slice))
		  ->{reached};
		return 0 if $left <= 0;
	}
	return;
}

=pod

=item $sandbox->stop

Ends it; also done when the object goes away.

=back

=cut

sub stop
{
	my ($self) = @_;
	my $pid = CORE::delete $self->{process};

	return unless defined $pid;
	close $self->{in};
	kill 'TERM', $pid;
	waitpid $pid, 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	# The status of the test must survive the status of the sandbox.
	local ($?, $@, $!);
	$self->stop;
	return;
}

1;
