package CapiTest::Sandbox;

=pod

=head1 NAME

CapiTest::Sandbox - the stand-in for Meta's API as a Perl object

=head1 SYNOPSIS

  use CapiTest::Sandbox;

  my $sandbox = CapiTest::Sandbox->new;
  $sandbox->call(POST => 'misbehave', { status => 503, times => 2 });
  my $stats = $sandbox->call(GET => 'stats');
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
	my $answer = HTTP::Tiny->new(timeout => 120)
	  ->request($method, $self->control_url . "/sandbox/$path", \%options);
	croak "sandbox: $answer->{status} $answer->{content}"
	  unless $answer->{success};
	return decode_json($answer->{content});
}

=pod

=item $sandbox->stop

Ends it; also done when the object goes away.

=back

=cut

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{process};

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
