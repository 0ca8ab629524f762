package CapiTest::Soak;

=pod

=head1 NAME

CapiTest::Soak - a shop that sells while everything around it goes wrong

=head1 SYNOPSIS

  my $soak = CapiTest::Soak->new(node => $node, sandbox => $sandbox, seed => 42);
  $soak->run($seconds);
  $soak->settle;
  is_deeply($soak->surprises, [], 'nothing happened that was not meant to');

=head1 DESCRIPTION

Clients are those of F<test/soak/clients>, run by pgbench.  What goes wrong is
one of the methods named in C<@MISHAPS>, chosen by a generator of its own, so a
seed gives the same mishaps in the same order (when they meet what, the machine
decides).  Each leaves the shop as able to sell as before, or says in C<later>
how that is mended.

=cut

use strict;
use warnings;

use File::Basename;
use File::Spec;
use JSON::PP;
use Time::HiRes qw(time usleep);

use CapiTest::Node;

my $CLIENTS = File::Spec->rel2abs(dirname(__FILE__) . '/../../soak/clients');

# [weight, method, arguments]
my @MISHAPS = (
	[ 3, 'kill_process', 'capi dispatcher', 'KILL' ],
	[ 3, 'kill_process', 'capi dispatcher', 'TERM' ],
	[ 2, 'kill_process', 'capi reader', 'KILL' ],
	[ 3, 'kill_process', 'capi reader', 'TERM' ],
	[ 2, 'kill_process', 'capi launcher', 'TERM' ],
	[ 2, 'kill_process', 'client backend', 'KILL' ],
	[ 2, 'restart', 'immediate' ],
	[ 2, 'restart', 'fast' ],
	[ 4, 'misbehave', { status => 503, times => 3 } ],
	[ 2, 'misbehave', { status => 500, code => 2, times => 2 } ],
	[ 2, 'misbehave', { status => 400, code => 80004, times => 1 } ],
	[ 3, 'misbehave', { cut => 'before' } ],
	[ 3, 'misbehave', { cut => 'after' } ],
	[ 2, 'misbehave', { cut => 'middle' } ],
	[ 2, 'misbehave', { html => JSON::PP::true() } ],
	[ 2, 'misbehave', { delay_ms => 4000, times => 2 } ],
	[ 3, 'hang' ],
	[ 2, 'sandbox_call', 'disconnect' ],
	[ 2, 'dead_token' ],
	[ 2, 'new_token' ],
	[ 2, 'bad_certificate' ],
	[ 2, 'statement', 'SELECT capi.pause(%s)', 'SELECT capi.resume(%s)' ],
	[ 2, 'statement', q{SELECT capi.pause_dataset('main')}, q{SELECT capi.resume_dataset('main')} ],
	[ 2, 'statement', q{SELECT capi.alter_source(%s, hold => '1 second')}, q{SELECT capi.alter_source(%s, hold => '0')} ],
	[ 2, 'statement', q{SELECT capi.alter_source(%s, dataset => 'second')}, q{SELECT capi.alter_source(%s, dataset => 'main')} ],
	[ 2, 'statement', 'ALTER TABLE shop.orders ADD COLUMN IF NOT EXISTS note text',
		'ALTER TABLE shop.orders DROP COLUMN IF EXISTS note' ],
	[ 1, 'statement', 'ALTER TABLE shop.orders ALTER COLUMN email TYPE varchar(200)',
		'ALTER TABLE shop.orders ALTER COLUMN email TYPE text' ],
	[ 1, 'statement', 'CREATE INDEX IF NOT EXISTS orders_paid ON shop.orders (paid_at)',
		'DROP INDEX IF EXISTS shop.orders_paid' ],
	[ 1, 'statement', q{ALTER SYSTEM SET capi.readers = 1; SELECT pg_reload_conf()},
		q{ALTER SYSTEM RESET capi.readers; SELECT pg_reload_conf()} ],
	[ 1, 'statement', q{ALTER DATABASE shop SET capi.enabled = off}, q{ALTER DATABASE shop RESET capi.enabled} ],
	[ 2, 'statement', 'SELECT pg_reload_conf()' ],
	[ 2, 'statement', 'VACUUM shop.orders' ],
	[ 2, 'statement', 'VACUUM FULL shop.orders' ],
	[ 1, 'statement', 'VACUUM FULL capi.backlog' ],
	[ 1, 'statement', 'VACUUM FULL capi.queue_1' ],
	[ 1, 'statement', 'CHECKPOINT' ],
	[ 1, 'statement', q{CALL capi.deliver('1 second')} ],
	[ 1, 'statement', q{SELECT capi.redrive(status => 'ignored')} ],
	[ 2, 'hold_open', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM capi.delivery_status' ],
	[ 2, 'hold_open', 'BEGIN; LOCK TABLE shop.orders IN SHARE MODE' ],
	[ 2, 'hold_open', 'BEGIN; LOCK TABLE capi.backlog' ],
	[ 1, 'hold_open', 'BEGIN; LOCK TABLE capi.delivery' ],
	[ 2, 'dump' ],);

# What a client or an administrator may be told while servers come and go.
my $EXPECTED = qr/
	terminating\ connection | connection\ to\ server | server\ closed\ the\ connection
  | starting\ up | shutting\ down | in\ recovery | recovery\ mode | not\ yet\ accepting
  | administrator\ command | lock\ timeout | statement\ timeout | deadlock\ detected
  | already\ delivering | could\ not\ connect | Broken\ pipe
  | another\ server\ process | abnormally | possibly\ corrupted/x;

sub new
{
	my ($class, %options) = @_;
	my $self = bless {
		%options,
		token => $CapiTest::Node::TOKEN,
		tokens => 0,
		later => [],
		open => [],
		kills => [],
		surprises => [],
		done => {} }, $class;

	$self->{state} = $self->{seed};
	return $self;
}

# 0 .. $below - 1, from a generator that is the same everywhere.
sub random
{
	my ($self, $below) = @_;

	$self->{state} = ($self->{state} * 1103515245 + 12345) % 2**31;
	return int($self->{state} / 2**31 * $below);
}

=pod

=head1 METHODS

=over

=item $soak->run($seconds)

Sells for so long, with a mishap every half second to two.

=cut

sub run
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;

	$self->start_clients($seconds);
	while (time < $end)
	{
		$self->mend_due;
		$self->mishap;
		usleep(500_000 + $self->random(1_500_000));
	}
	return;
}

sub mishap
{
	my ($self) = @_;
	my $total = 0;
	my $chosen;

	$total += $_->[0] foreach @MISHAPS;
	my $at = $self->random($total);
	foreach my $mishap (@MISHAPS)
	{
		$chosen = $mishap;
		last if ($at -= $mishap->[0]) < 0;
	}
	my (undef, $method, @arguments) = @$chosen;

	$self->{done}{$method}++;
	main::note(sprintf '%.1f %s %s', time - $^T, $method,
		join ' ', map { ref $_ ? encode_json($_) : $_ } @arguments)
	  if $ENV{CAPI_SOAK_VERBOSE};
	$self->$method(@arguments);
	return;
}

# Something to do in one to four seconds.
sub later
{
	my ($self, $do) = @_;

	push @{ $self->{later} }, [ time + 1 + $self->random(3000) / 1000, $do ];
	return;
}

# What is mended may wait for a lock of these.
sub close_open
{
	my ($self, $all) = @_;

	eval { $_->[1]->quit } foreach grep { $all || $_->[0] <= time } @{ $self->{open} };
	$self->{open} = [ grep { !$all && $_->[0] > time } @{ $self->{open} } ];
	return;
}

sub mend_due
{
	my ($self, $all) = @_;
	my @due = grep { $all || $_->[0] <= time } @{ $self->{later} };

	$self->close_open($all);
	$self->{later} = [ grep { !$all && $_->[0] > time } @{ $self->{later} } ];
	$_->[1]->() foreach @due;
	return;
}

=pod

=item $soak->surprises

What somebody was told that nobody should be told, as a list of texts.

=cut

sub surprises { return $_[0]{surprises} }

# Runs statements as whoever owns the table; a server that is away is no news.
sub try_sql
{
	my ($self, $sql, $role) = @_;
	my ($out, $err);
	my $text = $sql =~ s/%s/'paid_orders'/r;

	foreach my $statement (split /;\s*/, $text)
	{
		$self->{node}->psql(
			'shop', $statement,
			stdout => \$out, stderr => \$err,
			on_error_die => 0, on_error_stop => 0, timeout => 60,
			extra_params => [ defined $role ? ('-U', $role) : () ],
			connstr => $self->{node}->connstr('shop')
			  . q{ options='-c lock_timeout=3s -c client_min_messages=error'});
		push @{ $self->{surprises} }, "$statement: $err"
		  if $err && $err !~ $EXPECTED;
	}
	return !$err;
}

sub statement
{
	my ($self, $sql, $undo) = @_;
	my $role = $sql =~ /shop\.orders/ ? 'shop_owner' : undef;

	$self->try_sql($sql, $role);
	# until it is done: the server may be away
	$self->later(sub { $self->until_done(sub { $self->try_sql($undo, $role) }) }) if $undo;
	return;
}

sub until_done
{
	my ($self, $try) = @_;
	my $end = time + 60;

	until ($try->())
	{
		if (time > $end)
		{
			push @{ $self->{surprises} }, 'something could not be undone in a minute';
			last;
		}
		$self->close_open;
		usleep(200_000);
	}
	return;
}

# --- processes -----------------------------------------------------------------

sub kill_process
{
	my ($self, $type, $signal) = @_;
	my ($out, $err);

	$self->{node}->psql(
		'postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'"
		  . ' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1',
		stdout => \$out, stderr => \$err, on_error_die => 0);
	return unless $out && $out =~ /^\d+$/;
	push @{ $self->{kills} }, time;
	kill $signal, $out;
	return;
}

sub restart
{
	my ($self, $mode) = @_;

	$self->until_done(sub { $self->{node}->psql('postgres', 'SELECT 1', on_error_die => 0) == 0 });
	push @{ $self->{kills} }, time;
	$self->{node}->stop($mode);
	$self->{node}->start;
	return;
}

# A transaction that stays open for some seconds.
sub hold_open
{
	my ($self, $sql) = @_;
	my $session = eval { $self->{node}->session };

	return unless $session;
	eval { $session->sql("SET lock_timeout = '2s'"); $session->send($sql); };
	push @{ $self->{open} }, [ time + 1 + $self->random(3000) / 1000, $session ];
	return;
}

sub dump
{
	my ($self) = @_;
	my $node = $self->{node};
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		exec $node->config_data('--bindir') . '/pg_dump', '-f', '/dev/null', '--lock-wait-timeout=3000',
		  '-d', $node->connstr('shop') or exit 1;
	}
	push @{ $self->{children} }, $pid;
	return;
}

# --- the endpoint ----------------------------------------------------------------

sub misbehave
{
	my ($self, $plan) = @_;

	$self->{sandbox}->misbehave(%$plan);
	return;
}

sub sandbox_call
{
	my ($self, $call) = @_;

	$self->{sandbox}->post($call);
	return;
}

sub hang
{
	my ($self) = @_;

	$self->{sandbox}->misbehave(hang => JSON::PP::true());
	$self->later(sub { $self->{sandbox}->release });
	return;
}

sub dead_token
{
	my ($self) = @_;
	my $token = $self->{token};

	$self->{sandbox}->post('tokens', { revoke => [$token] });
	$self->later(sub {
		$self->{sandbox}->post('tokens', { add => [$token] });
		# the probe comes after minutes, a word of the owner at once
		$self->give_token($self->{token});
	});
	return;
}

sub new_token
{
	my ($self) = @_;

	$self->{token} = 'token-' . ++$self->{tokens};
	$self->{sandbox}->post('tokens', { add => [ $self->{token} ] });
	$self->give_token($self->{token});
	return;
}

sub give_token
{
	my ($self, $token) = @_;

	$self->until_done(sub {
		$self->try_sql("SELECT capi.set_access_token('main', '$token')")
		  && $self->try_sql("SELECT capi.set_access_token('second', '$token')") });
	return;
}

sub bad_certificate
{
	my ($self) = @_;

	$self->{sandbox}->post('certificate', { use => 'expired' });
	$self->{sandbox}->post('disconnect');
	$self->later(sub { $self->{sandbox}->post('certificate', { use => 'good' }) });
	return;
}

# --- clients -----------------------------------------------------------------------

# pgbench gives up with its server, so the shop begins anew each time.
sub start_clients
{
	my ($self, $seconds) = @_;
	my $node = $self->{node};
	my $end = time + $seconds;
	my $pid = fork // die "fork: $!";

	if ($pid)
	{
		push @{ $self->{children} }, $pid;
		return;
	}
	my @scripts = map { ('-f', "$_@" . weight($_)) } sort glob "$CLIENTS/*.sql";
	my $log = $node->basedir . '/pgbench.log';
	my $round = $self->{seed};

	open STDOUT, '>>', $log;
	open STDERR, '>&', \*STDOUT;
	while ((my $left = int($end - time)) > 0)
	{
		system 'pgbench', '-n', '-c', 5, '-j', 1, '-T', $left < 20 ? $left : 20, '-R', $self->{rate} // 60,
		  '--random-seed=' . $round++, '-h', $node->host, '-p', $node->port, '-U', 'shop_app', @scripts, 'shop';
		usleep(200_000);
	}
	require POSIX;
	POSIX::_exit(0);
}

sub weight
{
	my ($file) = @_;

	open my $in, '<', $file or die "$file: $!";
	return <$in> =~ /^-- weight (\d+):/ ? $1 : die "$file has no weight";
}

=pod

=item $soak->settle($timeout_s)

Ends all mishaps, finishes what was left prepared, and waits until no event
waits.

=back

=cut

sub settle
{
	my ($self, $timeout_s) = @_;
	my $node = $self->{node};

	$self->close_open(1);
	waitpid $_, 0 foreach @{ $self->{children} };
	$self->{sandbox}->behave;
	$self->{sandbox}->release;
	$self->{sandbox}->post('certificate', { use => 'good' });
	$node->poll_query_until('postgres', 'SELECT 1', '1') or die;
	$self->mend_due(1);
	foreach my $gid (split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts ORDER BY 1'))
	{
		my $end = $self->random(2) ? 'COMMIT' : 'ROLLBACK';

		$node->sql("$end PREPARED '$gid'", 'shop_app');
	}
	return $node->wait_until_idle($timeout_s);
}

1;
