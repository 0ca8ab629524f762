package CapiTest::Shop;

=pod

=head1 NAME

CapiTest::Shop - one of the shops of examples/, and what its recipe reports

=head1 SYNOPSIS

  use CapiTest::Shop;

  my $shop = CapiTest::Shop->create('vendure');
  $shop->run($statements);
  $shop->reports(1, 'a paid order', time => $t, value => '9.90', currency => 'EUR',
      em => 'anna@example.com', contents => [ [ 'MUG', 1, '9.90' ] ]);
  $shop->run($more);
  $shop->ignores(2, 'a cancelled one', 'cancelled before it was sent');
  $shop->nothing_else;

=head1 DESCRIPTION

A server with the tables of F<test/shops/NAME/schema.sql>, owned by shop_owner,
and F<examples/NAME/recipe.sql> run by psql as that role, word for word.  The
shop's own statements are run by shop_app, which knows nothing of capi.

Expected events are written out by hand, in the form that Meta wants hashed;
the hashing here is Digest::SHA's and shares nothing with capi.

=cut

use strict;
use warnings;

use Carp;
use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8);
use Exporter qw(import);
use File::Basename;
use File::Spec;
use POSIX qw(strftime);
use Test::More;

use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(naive literal insert update);

my $TOP = File::Spec->rel2abs(dirname(__FILE__) . '/../../..');

# The table of each shop's orders; its key is called id.
my %ORDERS = (
	medusa => '"order"',
	odoo => 'sale_order',
	oscar => 'order_order',
	saleor => 'order_order',
	'shopify-airbyte' => 'orders',
	'shopify-fivetran' => 'shopify."order"',
	spree => 'spree_orders',
	stripe => 'stripe.payment_intents',
	vendure => '"order"');

# Fields of user_data that are sent as lists of hashes.
my @HASHED = qw(em ph fn ln ct st zp country external_id);

=pod

=head1 METHODS

=over

=item CapiTest::Shop->create($name, %options)

Makes the server, the shop and the dataset C<main>, runs the recipe, and loads
F<test/shops/NAME/orders.pl>.

  conf       => text       more lines of postgresql.conf
  variables  => [list]     psql variables for the recipe, "zone=Asia/Tokyo"
  writer     => role       who runs the shop's statements, instead of shop_app

The server's own time zone is one that no shop here uses.

=cut

sub create
{
	my ($class, $name, %options) = @_;
	my $sandbox = CapiTest::Sandbox->new;
	my $node = CapiTest::Node->create($name, sandbox => $sandbox,
		conf => "timezone = 'America/St_Johns'\n" . ($options{conf} // ''));
	my $self = bless {
		name => $name,
		node => $node,
		sandbox => $sandbox,
		writer => $options{writer} // 'shop_app',
		reported => {},
		ignored => {} }, $class;

	$node->install_capi;
	$self->_psql_file("$TOP/test/shops/$name/schema.sql");
	$node->sql('GRANT ALL ON ALL TABLES IN SCHEMA public TO shop_app; '
		  . 'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO shop_app', 'shop_owner');
	$self->attach(@{ $options{variables} // [] });
	do "$TOP/test/shops/$name/orders.pl"
	  or croak "cannot load the orders of $name: " . ($@ || $!);
	return $self;
}

# Runs a file as the shop's owner; its output and errors.
sub _psql
{
	my ($self, $file, @arguments) = @_;
	my @command = ('psql', '-XqAt', '-U', 'shop_owner', '-d',
		$self->{node}->connstr($CapiTest::Node::DATABASE), @arguments, '-f', $file);

	return run_command(\@command);
}

sub _psql_file
{
	my ($self, $file, @arguments) = @_;
	my ($out, $err) = $self->_psql($file, '-v', 'ON_ERROR_STOP=1', @arguments);

	croak "$file: $err" if $err =~ /ERROR|error:/;
	return;
}

sub node { return $_[0]{node} }

=pod

=item $shop->attach(@variables)

Runs the recipe with these psql variables; at any time again.

=item ($out, $err) = $shop->try_attach(@variables)

Likewise, but an error is returned.

=cut

sub attach
{
	my ($self, @variables) = @_;

	$self->_psql_file("$TOP/examples/$self->{name}/recipe.sql", map { ('-v', $_) } @variables);
	return;
}

sub try_attach
{
	my ($self, @variables) = @_;

	return $self->_psql("$TOP/examples/$self->{name}/recipe.sql", map { ('-v', $_) } @variables);
}

=pod

=item $shop->run(@statements)

Runs them in one session as the writer; transactions are as they say.  A list
element is one request of the shop's, or what it does in one go.

=item $shop->sql($query)

One query as superuser, for a look.

=cut

sub run
{
	my ($self, @statements) = @_;

	$self->{node}->sql(join("\n", @statements), $self->{writer});
	return;
}

sub sql { my ($self, @rest) = @_; return $self->{node}->sql(@rest) }

=pod

=item $shop->settle

Polls until no event waits.

=item $shop->late(@statements)

Runs them while the source is paused, so that orders are read only when
everything has happened to them.

=cut

sub settle { return $_[0]{node}->wait_until_idle }

sub late
{
	my ($self, @statements) = @_;

	$self->settle;
	$self->sql("SELECT capi.pause('orders')");
	$self->run(@statements);
	$self->sql("SELECT capi.resume('orders')");
	$self->settle;
	return;
}

=pod

=item $shop->reports($key, $name, %expected)

One test: the sandbox received the order once, and every member of the event is
as expected.  C<time> is in seconds; the customer's fields are given in normal
form, one or a list; C<contents> is a list of [id, quantity, item_price];
C<action_source> defaults to website.  What is not given must not be there, but
content_ids, num_items and content_type follow from C<contents>, if there are any.

=cut

sub reports
{
	my ($self, $key, $name, %expected) = @_;
	my @rows;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->settle;
	$self->{reported}{$key} = 1;
	@rows = grep { $_->{event_id} eq $key } $self->{sandbox}->events;
	is_deeply(
		[ map { { count => $_->{count}, event => _texts($_->{event}) } } @rows ],
		[ { count => 1, event => _texts(_event($key, %expected)) } ],
		"$name: reported once, as it was bought")
	  or diag($self->describe($key));
	return;
}

# The whole event as Meta should get it.
sub _event
{
	my ($key, %expected) = @_;
	my %event = (
		event_name => 'Purchase',
		event_id => $key,
		event_time => delete $expected{time},
		action_source => delete $expected{action_source} // 'website');
	my $contents = delete $expected{contents};
	my $quantity = 0;

	foreach my $field (@HASHED)
	{
		my $values = delete $expected{$field};

		next unless defined $values;
		$values = [$values] unless ref $values;
		$event{user_data}{$field} = [ map { sha256_hex(encode_utf8($_)) } @$values ];
	}
	foreach my $field (qw(client_ip_address client_user_agent fbp fbc))
	{
		my $value = delete $expected{$field};

		$event{user_data}{$field} = $value if defined $value;
	}
	foreach my $field (qw(event_source_url referrer_url))
	{
		my $value = delete $expected{$field};

		$event{$field} = $value if defined $value;
	}
	$event{custom_data} = {%expected};
	return \%event unless $contents;
	$quantity += $_->[1] foreach @$contents;
	$event{custom_data} = {
		%expected,
		content_type => 'product',
		content_ids => [ map { $_->[0] } @$contents ],
		contents => [ map { { id => $_->[0], quantity => $_->[1], item_price => $_->[2] } }
			  @$contents ],
		num_items => $quantity };
	return \%event;
}

# Numbers as texts, and without zeros that mean nothing: 1.50 is 1.5.
sub _texts
{
	my ($value) = @_;

	return { map { $_ => _texts($value->{$_}) } keys %$value }
	  if ref $value eq 'HASH';
	return [ map { _texts($_) } @$value ] if ref $value eq 'ARRAY';
	return $value unless defined $value && $value =~ /^-?\d+\.\d+$/;
	return $value =~ s/\.?0+$//r;
}

=pod

=item $shop->ignores($key, $name, $reason)

One test: the order was captured and is ignored for this reason.

=cut

sub ignores
{
	my ($self, $key, $name, $reason) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->settle;
	$self->{ignored}{$key} = $reason;
	is($self->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$key'"),
		"ignored|$reason", "$name: ignored, $reason")
	  or diag($self->describe($key));
	return;
}

=pod

=item $shop->captured($key)

How many times the rule fired for the order is not kept; this says whether
capi knows it: its status, or an empty text.

=cut

sub captured
{
	my ($self, $key) = @_;

	return $self->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$key'");
}

=pod

=item $shop->nothing_else

Five tests that end a file: what the sandbox received and what capi ignored is
exactly what was looked at above; no capture was missed; every order that the
query returns is one that capi knows, so that nothing counts as missing in a
reconciliation; an order that was never captured is no purchase for preview()
and pixel_event() either; and the query finds an order by its key's index.

=cut

sub nothing_else
{
	my ($self) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->settle;
	is_deeply([ sort map { $_->{event_id} } $self->{sandbox}->events ],
		[ sort keys %{ $self->{reported} } ],
		'no purchase was reported but these');
	my $known = $self->sql("SELECT string_agg(order_key || ': ' || coalesce(reason, status), E'\\n' "
		  . 'ORDER BY order_key COLLATE "C") FROM capi.delivery_status');
	my %expected = ((map { $_ => 'delivered' } keys %{ $self->{reported} }),
		%{ $self->{ignored} });
	is($known, join("\n", map { "$_: $expected{$_}" } sort keys %expected),
		'no order was captured but these, and none waits');
	my $query = $self->sql("SELECT query FROM capi.source WHERE name = 'orders'");
	is($self->sql("SELECT coalesce(string_agg(q.key::text, ' '), '') FROM ($query) q WHERE NOT EXISTS "
			. '(SELECT FROM capi.delivery_status s WHERE s.order_key = q.key::text)'),
		'', 'the query returns no order that capi does not know');
	is($self->sql("SELECT coalesce(string_agg(o.id::text, ' '), '') FROM $ORDERS{ $self->{name} } o WHERE NOT EXISTS "
			. '(SELECT FROM capi.delivery_status s WHERE s.order_key = o.id::text) AND '
			. "(EXISTS (SELECT FROM capi.preview('orders', o.id::text) p WHERE p.outcome = 'delivered') "
			. "OR capi.pixel_event('orders', o.id::text) IS NOT NULL)"),
		'', 'an order that was not captured is no purchase for the page either');
	my $type = $self->sql("SELECT query_key_type FROM capi.source WHERE name = 'orders'");
	my $plan = $self->sql("SET enable_seqscan = off; PREPARE one AS SELECT * FROM ($query) q "
		  . "WHERE q.key = ANY (\$1::${type}[]); SET plan_cache_mode = force_generic_plan; "
		  . "EXPLAIN (COSTS off) EXECUTE one(NULL)");
	like($plan, qr/Index Cond: .*\b(?:order_)?id = ANY \(\$1\)/, 'an order is found by its key\'s index');
	return;
}

=pod

=item $shop->runs_again(@variables, $buy)

Three tests: the recipe is run a second time with these variables while an order
waits, and neither it nor one that comes later is lost.  $buy returns an order
and its statements.

=cut

sub runs_again
{
	my ($self, @variables) = @_;
	my $buy = pop @variables;
	my ($waiting, @first) = $buy->();
	my ($later, @second) = $buy->();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->settle;
	$self->sql("SELECT capi.pause('orders')");
	$self->run(@first);
	$self->attach(@variables);
	is($self->sql("SELECT state FROM capi.source_status WHERE source = 'orders'"), 'paused',
		'a second run leaves what the recipe does not say');
	$self->sql("SELECT capi.resume('orders')");
	$self->run(@second);
	$self->settle;
	foreach my $order ($waiting, $later)
	{
		$self->{reported}{ $order->{id} } = 1;
		is($self->captured($order->{id}), 'delivered', 'an order around a second run is reported');
	}
	return;
}

=pod

=item $shop->describe($key)

What capi says of an order, for a diagnosis.

=cut

sub describe
{
	my ($self, $key) = @_;

	return $self->sql("SELECT status, reason, problems, value, currency, error_subcode FROM capi.delivery_status s "
		  . "LEFT JOIN (SELECT key, problems::text FROM capi.delivery) d ON d.key = s.order_key WHERE order_key = '$key'")
	  . "\n" . $self->sql('SELECT * FROM capi.source_status');
}

=pod

=back

=head1 FUNCTIONS

=over

=item naive($seconds, $hours)

A literal of a timestamp without time zone, as a process writes it whose clock
is so many hours ahead of UTC.

=item literal($value)

As SQL: quoted, NULL, or an expression given by reference.

=item update($table, $id, %columns)

An UPDATE of one row as an object mapper writes it, names quoted, in the order
of the names.

=item insert($table, %columns)

Likewise an INSERT.

=cut

sub naive
{
	my ($seconds, $hours) = @_;

	return strftime('%Y-%m-%d %H:%M:%S.123', gmtime($seconds + 3600 * ($hours // 0)));
}

sub literal
{
	my ($value) = @_;

	return 'NULL' unless defined $value;
	return $$value if ref $value;
	return "'" . $value =~ s/'/''/gr . "'";
}

sub update
{
	my ($table, $id, %columns) = @_;

	return qq{UPDATE "$table" SET }
	  . join(', ', map { qq{"$_" = } . literal($columns{$_}) } sort keys %columns)
	  . ' WHERE "id" = ' . literal($id) . ';';
}

sub insert
{
	my ($table, %columns) = @_;
	my @names = sort keys %columns;

	return qq{INSERT INTO "$table" (} . join(', ', map { qq{"$_"} } @names)
	  . ') VALUES (' . join(', ', map { literal($columns{$_}) } @names) . ');';
}

=pod

=back

=cut

1;
