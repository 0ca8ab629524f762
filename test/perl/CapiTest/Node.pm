package CapiTest::Node;

=pod

=head1 NAME

CapiTest::Node - a server with capi, a small shop and a dataset in it

=head1 SYNOPSIS

  use CapiTest::Node;
  use CapiTest::Sandbox;

  my $sandbox = CapiTest::Sandbox->new;
  my $node = CapiTest::Node->create('main', sandbox => $sandbox);
  $node->install_capi;
  $node->attach;
  $node->pay($node->place_orders(10));
  $node->wait_until_idle;
  $node->deliveries_ok('ten orders arrive');

=head1 DESCRIPTION

A PostgreSQL::Test::Cluster, with all of its methods.  What it adds works in
the database C<shop>, or the one of in_database(), where three roles act:

  (superuser)   installs capi, creates the dataset, looks
  shop_owner    owns the tables and attaches them
  shop_app      writes orders; has no right on anything of capi's

Polls, and never sleeps for longer than a tenth of a second.

=cut

use strict;
use warnings;

use parent 'PostgreSQL::Test::Cluster';

use Carp;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time usleep);

use CapiTest::Session;
use PostgreSQL::Test::Utils qw(slurp_file);    # others would hide methods

our $DATABASE = 'shop';
our $TOKEN = 'sandbox-token';
our $DATASET_ID = '1234567890';

# The order in which they are read matters to no test.
my $ORDER_QUERY = q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency,
       o.email AS em, o.id::text AS order_id, 'https://shop.example/' AS event_source_url,
       'test agent' AS client_user_agent,
       CASE WHEN o.is_test THEN 'test order' END AS ignore_reason
  FROM shop.orders o};

=pod

=head1 METHODS

=over

=item CapiTest::Node->create($name, %options)

Makes and starts a server, with the database and the shop's tables in it.

  sandbox    => object   whose url, ca_file and control_url are used
  preload    => 0|1      capi in shared_preload_libraries (default 1)
  databases  => text     capi.databases (default "shop")
  conf       => text     more lines of postgresql.conf
  init       => [list]   arguments for init(), allows_streaming and the like
  start      => 0|1      start it and make the shop (default 1)
  server     => folder   bin/ and lib/ of another server, with capi in it

=cut

sub create
{
	my ($class, $name, %options) = @_;
	my $self = $class->new($name, install_path => $options{server});

	$self->{_sandbox} = $options{sandbox};
	$self->init(
		extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ],
		@{ $options{init} // [] });
	$self->append_conf('postgresql.conf', $self->_capi_conf(%options));
	if ($options{start} // 1)
	{
		$self->start;
		$self->create_shop;
	}
	return $self;
}

sub _capi_conf
{
	my ($self, %options) = @_;
	my @conf = ("log_line_prefix = '%m [%p] %b %q%a '", "log_statement = none");

	if ($options{preload} // 1)
	{
		push @conf, "shared_preload_libraries = 'capi'";
		push @conf,
		  "capi.databases = '" . ($options{databases} // $DATABASE) . "'";
	}
	push @conf, "capi.ca_file = '" . $options{sandbox}->ca_file . "'"
	  if $options{sandbox} && $options{sandbox}->ca_file;
	# Tests are about what happens, not about how patiently.
	push @conf, "capi.linger = '5ms'";
	push @conf, "capi.missing_wait = 0";
	push @conf, "max_prepared_transactions = 10";
	# what a shop has, unlike the module that makes this cluster
	push @conf, "restart_after_crash = on";
	push @conf, $options{conf} if defined $options{conf};
	return join("\n", @conf) . "\n";
}

=pod

=item $node->use_sandbox($sandbox)

For a node that was not made by create(), a standby say.

=cut

sub use_sandbox
{
	my ($self, $sandbox) = @_;

	$self->{_sandbox} = $sandbox;
	return $self;
}

sub sandbox
{
	my ($self) = @_;

	return $self->{_sandbox} // croak 'this node has no sandbox';
}

=pod

=item $node->sql($query, $role)

Runs it in the shop's database and returns the answer; dies on an error.
Without a role: as superuser.

=cut

sub sql
{
	my ($self, $query, $role) = @_;
	my @as = defined $role ? ('-U', $role) : ();

	return $self->safe_psql($self->database, $query, extra_params => [@as]);
}

=pod

=item $node->in_database($name, %options)

The same server seen from another database: an object whose methods work
there.  C<dataset_id> is for its create_dataset() and deliveries_ok(), C<sandbox>
another one than the node's.  Start and stop the server with the first object.

=item $node->database

The name.

=cut

sub in_database
{
	my ($self, $name, %options) = @_;
	my $other = bless { %$self, _database => $name }, ref $self;

	$other->{_dataset_id} = $options{dataset_id} if $options{dataset_id};
	$other->{_sandbox} = $options{sandbox} if $options{sandbox};
	return $other;
}

sub database { return $_[0]{_database} // $DATABASE }
sub dataset_id { return $_[0]{_dataset_id} // $DATASET_ID }

=pod

=item $node->session(%options)

A CapiTest::Session in the database; C<role> as in sql().

=cut

sub session
{
	my ($self, %options) = @_;

	return CapiTest::Session->new($self->connstr($self->database),
		$options{role});
}

=pod

=item $node->refuses($query, $role)

Runs it and returns what the server says against it, with SQLSTATE, detail
and hint; undef when it has no objection.

=cut

sub refuses
{
	my ($self, $query, $role) = @_;
	my ($out, $err);
	my $status = $self->psql(
		$self->database, $query,
		stdout => \$out,
		stderr => \$err,
		on_error_die => 0,
		on_error_stop => 1,
		extra_params => [
			'-v', 'VERBOSITY=verbose', (defined $role ? ('-U', $role) : ()) ]);

	return $status == 0 ? undef : $err;
}

=pod

=item $node->change(%settings)

Appends settings to the configuration and reloads it.

=cut

sub change
{
	my ($self, %settings) = @_;

	$self->append_conf('postgresql.conf',
		join("\n", map { "$_ = '$settings{$_}'" } sort keys %settings));
	$self->reload;
	return;
}

=pod

=item $node->log_size, $node->log_since($size)

Where the server's log ends now, and its text from there on.

=cut

sub log_size { return -s $_[0]->logfile }
sub log_since { return slurp_file($_[0]->logfile, $_[1]) }

=pod

=item $node->create_shop

The database, the roles and C<shop.orders>.  create() has made them already,
except in_database().

=cut

sub create_shop
{
	my ($self) = @_;

	foreach my $role (qw(shop_owner shop_app))
	{
		$self->safe_psql('postgres',
			    "SELECT format('CREATE ROLE %I LOGIN', '$role')"
			  . " WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$role') \\gexec");
	}
	$self->safe_psql('postgres',
		'CREATE DATABASE ' . $self->database . ' OWNER shop_owner');
	$self->sql(q{
CREATE SCHEMA shop;
CREATE TABLE shop.orders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    status   text NOT NULL DEFAULT 'pending',
    total    numeric(12, 2) NOT NULL,
    currency char(3) NOT NULL DEFAULT 'EUR',
    email    text NOT NULL,
    is_test  boolean NOT NULL DEFAULT false,
    paid_at  timestamptz
);
GRANT USAGE ON SCHEMA shop TO shop_app;
GRANT SELECT, INSERT, UPDATE ON shop.orders TO shop_app}, 'shop_owner');
	return;
}

=pod

=item $node->install_capi(%options)

Creates the extension and the dataset C<main> (or C<name>), and lets
shop_owner attach.  C<endpoint>, C<access_token> and C<dataset_id> replace the
sandbox's.

=cut

sub install_capi
{
	my ($self, %options) = @_;

	$self->sql("CREATE EXTENSION capi");
	$self->sql("SELECT capi.grant_access('shop_owner', 'admin')");
	$self->create_dataset(%options);
	return;
}

=pod

=item $node->create_dataset(%options)

See install_capi().

=cut

sub create_dataset
{
	my ($self, %options) = @_;
	my %arguments = (
		name => 'main',
		dataset_id => $self->dataset_id,
		access_token => $TOKEN,
		%options);

	delete $arguments{access_token} if defined $arguments{access_token_file};

	$arguments{endpoint} //= $self->sandbox->url;
	$self->sql('SET client_min_messages = error; SELECT '
		  . _call('capi.create_dataset', %arguments));
	return;
}

=pod

=item $node->attach(%arguments)

Attaches C<shop.orders> as the source C<paid_orders>, fired by status becoming
C<paid>.  Arguments are those of capi.attach() and replace what is usual here;
undef leaves one out.  Lists are given as array references.

=cut

sub attach
{
	my ($self, %arguments) = @_;
	my %all = (
		source => 'paid_orders',
		table_name => 'shop.orders',
		dataset => 'main',
		on_column => 'status',
		on_values => ['paid'],
		query => $ORDER_QUERY,
		%arguments);

	$self->sql('SELECT ' . _call('capi.attach', %all), 'shop_owner');
	return;
}

# A call with named arguments; undef leaves an argument out.
sub _call
{
	my ($function, %arguments) = @_;
	my @list;

	foreach my $name (sort keys %arguments)
	{
		my $value = $arguments{$name};

		next unless defined $value;
		push @list, "$name => "
		  . (ref $value
			? 'ARRAY[' . join(', ', map { _literal($_) } @$value) . ']'
			: _literal($value));
	}
	return "$function(" . join(', ', @list) . ')';
}

sub _literal
{
	my ($text) = @_;

	$text =~ s/'/''/g;
	return $text =~ /\\/ ? " E'" . $text =~ s/\\/\\\\/gr . "'" : "'$text'";
}

=pod

=item $node->place_orders($count)

Writes pending orders as shop_app, in one statement; returns their ids.

=cut

sub place_orders
{
	my ($self, $count) = @_;

	return split /\n/, $self->sql(qq{
INSERT INTO shop.orders (total, email)
SELECT 10 + n * 0.01, format('customer.%s\@example.com', n)
  FROM generate_series(1, $count) n
RETURNING id}, 'shop_app');
}

=pod

=item $node->pay(@ids)

Marks orders paid as shop_app, in one transaction.

=cut

sub pay
{
	my ($self, @ids) = @_;

	$self->sql(
		$self->pay_statement(@ids), 'shop_app');
	return;
}

=pod

=item $node->pay_statement(@ids)

The statement that pay() runs, for transactions of a test's own.

=cut

sub pay_statement
{
	my ($self, @ids) = @_;

	return
	    "UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id IN ("
	  . join(', ', @ids) . ')';
}

=pod

=item $node->wait_until_idle($timeout_s)

Polls until no event waits (queued, held or retrying).  After the time (60
seconds) it fails a test, prints what capi says of itself, and returns false.

=cut

sub wait_until_idle
{
	my ($self, $timeout_s) = @_;
	my $idle = $self->wait_for(
		"SELECT count(*) = 0 FROM capi.delivery_status"
		  . " WHERE status IN ('queued', 'held', 'retrying')",
		$timeout_s);

	unless ($idle)
	{
		fail('events still wait on node "' . $self->name . '"');
		diag($self->sql("SELECT * FROM capi.diagnose()"));
		diag($self->sql("TABLE capi.health"));
		diag($self->sql("SELECT status, reason, count(*)"
			  . " FROM capi.delivery_status GROUP BY 1, 2"));
	}
	return $idle;
}

=pod

=item $node->poll_query_until($dbname, $query, $expected)

As it is, but a server that goes down as it is asked is asked again: psql may end
before it has read the query, which IPC::Run dies of.

=cut

sub poll_query_until
{
	my ($self, @arguments) = @_;

	while (1)
	{
		my $result = eval { $self->SUPER::poll_query_until(@arguments) };

		return $result unless $@;
		croak $@ unless $@ =~ /Broken pipe/;
	}
}

=pod

=item $node->wait_for($query, $timeout_s)

Polls, in the shop's database, until the query answers true.

=cut

sub wait_for
{
	my ($self, $query, $timeout_s) = @_;
	my $end = time + ($timeout_s // 60);

	while (1)
	{
		return 1 if $self->sql($query) eq 't';
		return 0 if time > $end;
		usleep(50_000);
	}
}

=pod

=item $node->dispatcher_pid($not)

Of the database's dispatcher; waits for one to be there, and to be another
one than the process C<$not>.

=item $node->dispatcher_runs

Whether there is one, without waiting.

=cut

sub dispatcher_pid
{
	my ($self, $not) = @_;
	my $query = $self->_dispatcher_query . ' AND pid <> ' . ($not // 0);

	# asked elsewhere: the database itself may be in use
	$self->poll_query_until('postgres', "SELECT count(*) = 1 $query")
	  or croak 'no dispatcher runs';
	return $self->safe_psql('postgres', "SELECT pid $query");
}

sub dispatcher_runs
{
	my ($self) = @_;

	return $self->safe_psql('postgres',
		'SELECT count(*) ' . $self->_dispatcher_query) > 0;
}

=pod

=item $node->cpu_seconds($pid)

Processor time that a process has used so far.

=cut

sub cpu_seconds
{
	my ($self, $pid) = @_;
	my @fields = split / /, slurp_file("/proc/$pid/stat") =~ s/^.*\) //r;

	# user and system, in ticks of a hundredth on every Linux there is
	return ($fields[11] + $fields[12]) / 100;
}

sub _dispatcher_query
{
	my ($self) = @_;

	return "FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'"
	  . " AND datname = '" . $self->database . "'";
}

=pod

=item $node->hang($count, %plan)

Pays as many new orders and waits until the request with them hangs at the
sandbox, which has accepted its events already unless C<accept> is 0; returns
the ids.

=cut

sub hang
{
	my ($self, $count, %plan) = @_;
	my $before = $self->sandbox->hanging;
	my @ids = $self->place_orders($count);
	my %accept = $plan{accept} // 1 ? (accept => JSON::PP::true()) : ();

	delete $plan{accept};
	$self->sandbox->misbehave(%plan, %accept, hang => JSON::PP::true());
	$self->pay(@ids);
	$self->sandbox->wait_for(hanging => $before + 1)
	  or croak 'no request came to hang';
	return @ids;
}

=pod

=item $node->committed

What the shop sold: C<{id =E<gt> {value, currency, event_time}}> of the paid
orders that are no test orders, read from the shop's table alone.

=cut

sub committed
{
	my ($self) = @_;
	my $rows = $self->sql(q{
SELECT coalesce(json_object_agg(id, json_build_object(
           'value', total::text, 'currency', currency::text,
           'event_time', floor(extract(epoch FROM paid_at))::bigint)), '{}')
  FROM shop.orders WHERE status = 'paid' AND NOT is_test});

	return decode_json($rows);
}

=pod

=item $node->received

What the sandbox accepted, in the same form; the id is the event_id.

=item $node->repeats

By how many times more than once events were accepted.

=cut

sub received
{
	my ($self) = @_;
	my %found;

	foreach my $row (@{ $self->_received_rows })
	{
		my $custom = $row->{event}{custom_data};

		$found{ $row->{event_id} } = {
			value => sprintf('%.2f', $custom->{value}),
			currency => uc $custom->{currency},
			event_time => $row->{event}{event_time} };
	}
	return \%found;
}

sub repeats
{
	my ($self) = @_;
	my $repeats = 0;

	$repeats += $_->{count} - 1 foreach @{ $self->_received_rows };
	return $repeats;
}

sub _received_rows
{
	my ($self) = @_;

	return [ $self->sandbox->events(dataset => $self->dataset_id) ];
}

=pod

=item $node->deliveries_ok($name, %options)

One test: the set received equals the set committed, in ids, values, currencies
and times.  And a second one: no more repeated sends than C<max_repeats>
(default 0), the number of events that were in flight when something was killed.

=cut

sub deliveries_ok
{
	my ($self, $name, %options) = @_;
	my $max_repeats = $options{max_repeats} // 0;
	my ($committed, $received) = ($self->committed, $self->received);
	my $repeats = $self->repeats;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	_normalize_numbers($_) foreach values %$committed, values %$received;
	my $equal = is_deeply($received, $committed, "$name: received equals committed");
	unless ($equal)
	{
		my @lost = grep { !$received->{$_} } sort keys %$committed;
		my @invented = grep { !$committed->{$_} } sort keys %$received;

		diag('committed and not received: ' . (join(' ', @lost) || 'none'));
		diag('received and not committed: ' . (join(' ', @invented) || 'none'));
	}
	cmp_ok($repeats, '<=', $max_repeats, "$name: at most $max_repeats repeated");
	return $equal && $repeats <= $max_repeats;
}

# The same number may have been written in two ways.
sub _normalize_numbers
{
	my ($row) = @_;

	$row->{value} = sprintf('%.2f', $row->{value});
	$row->{event_time} = "$row->{event_time}";
	return;
}

=pod

=back

=cut

1;
