package CapiTest::Session;

=pod

=head1 NAME

CapiTest::Session - one psql that stays connected

=head1 SYNOPSIS

  my $session = $node->session(role => 'shop_app');
  $session->sql('BEGIN');
  my $id = $session->sql('INSERT ... RETURNING id');
  $session->send('CALL capi.deliver()');        # does not wait
  ...
  is($session->answer, '', 'it ended well');
  $session->quit;

=head1 DESCRIPTION

For transactions that stay open while a test does something else, and for
statements that take their time.  Works alike with all versions of
PostgreSQL::Test, whose own background sessions do not.

=cut

use strict;
use warnings;

use Carp;
use IPC::Run;

use PostgreSQL::Test::Utils;

=pod

=head1 METHODS

=over

=item CapiTest::Session->new($connstr, $role, @psql_options)

Connects.  Usually called as $node->session().

=cut

sub new
{
	my ($class, $connstr, $role, @options) = @_;
	my $self = bless { in => '', out => '', err => '', count => 0 }, $class;

	$self->{timer} = IPC::Run::timer($PostgreSQL::Test::Utils::timeout_default);
	$self->{psql} = IPC::Run::start(
		[ 'psql', '-XqAt', '-d', $connstr, (defined $role ? ('-U', $role) : ()),
			@options ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		$self->{timer});
	$self->sql('SELECT 1');
	return $self;
}

=pod

=item $session->send($sql)

Starts statements without waiting for them; their answer is for answer().

=cut

sub send
{
	my ($self, $sql) = @_;
	my $mark = 'done ' . ++$self->{count};

	croak 'the answer before was not taken' if $self->{mark};
	$self->{mark} = $mark;
	$self->{out} = $self->{err} = '';
	# the same word on both, because either may be late
	$self->{in} .= "$sql\n;\n\\echo $mark\n\\warn $mark\n";
	$self->{psql}->pump_nb;
	return;
}

=pod

=item $session->answer

Waits for what was sent and returns its rows, or what the server said against
it.

=item $session->answered

Whether the answer is there, without waiting.

=cut

sub answer
{
	my ($self) = @_;
	my $mark = $self->{mark} // croak 'nothing was sent';

	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	until ($self->_complete)
	{
		$self->{psql}->pumpable or croak "psql ended: $self->{err}";
		$self->{psql}->pump;
		croak "no answer to what was sent: $self->{err}"
		  if $self->{timer}->is_expired;
	}
	$self->{timer}->reset;
	$self->{mark} = undef;
	return join '', map { s/^\Q$mark\E\n//mr =~ s/\n\z//r } $self->{out},
	  $self->{err};
}

sub answered
{
	my ($self) = @_;

	$self->{psql}->pump_nb;
	return $self->_complete;
}

sub _complete
{
	my ($self) = @_;
	my $mark = $self->{mark};

	# with the end of its line, which may come later
	return $self->{out} =~ /^\Q$mark\E\n/m && $self->{err} =~ /^\Q$mark\E\n/m;
}

=pod

=item $session->sql($sql)

Both at once; dies on an error.

=cut

sub sql
{
	my ($self, $sql) = @_;

	$self->send($sql);
	my $answer = $self->answer;
	croak $answer if $answer =~ /^(psql:.*)?(ERROR|FATAL|PANIC): /m;
	return $answer;
}

=pod

=item $session->pid

Of its server process.

=item $session->quit

Ends it; also done when the object goes away.

=back

=cut

sub pid
{
	my ($self) = @_;

	return $self->{pid} //= $self->sql('SELECT pg_backend_pid()');
}

sub quit
{
	my ($self) = @_;
	my $psql = delete $self->{psql};

	return unless $psql;
	if ($self->{mark})
	{
		$psql->kill_kill(grace => 1);
		return;
	}
	$self->{in} .= "\\q\n";
	eval { $psql->finish; 1 } or $psql->kill_kill;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	# The status of the test must survive the status of psql.
	local ($?, $@, $!);
	$self->quit;
	return;
}

1;
