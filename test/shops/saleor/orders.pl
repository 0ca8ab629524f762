# What Saleor writes for an order: the whole checkout in one transaction, with
# the order before its lines and saved again at the end; the log after that
# commit, each entry by itself.
package Saleor;

use strict;
use warnings;

use CapiTest::Shop qw(insert update);
use JSON::PP;
use POSIX qw(strftime);

my $json = JSON::PP->new->canonical;
my $last_id = 0;

sub uuid { return sprintf('%08x-1d2c-4b6f-9a3e-5f7a0c2e4d68', ++$last_id) }

sub utc { return strftime('%Y-%m-%d %H:%M:%S.25+00', gmtime $_[0]) }

sub atomic { return join("\n", 'BEGIN;', @_, 'COMMIT;') }

# An order to be.
#   items    list of [sku, price, quantity, more columns]; total
#   address, billing   columns of account_address; columns: more of order_order
#   time     when it is placed; each entry in the log comes a second later
sub order
{
	my ($class, %with) = @_;
	my $self = bless {
		id => uuid(),
		transaction => ++$last_id,
		currency => 'PLN',
		origin => 'checkout',
		status => 'unfulfilled',
		time => time - 600,
		columns => {},
		charged => 0,
		granted => 0,
		%with }, $class;

	$self->{number} = $last_id;
	return $self;
}

sub address
{
	my ($self, $which) = @_;
	my $columns = $self->{$which};

	return () unless $columns;
	$self->{"$which id"} = ++$last_id;
	return insert('account_address', id => $last_id,
		(map { $_ => '' } qw(first_name last_name company_name street_address_1 street_address_2
			  city city_area postal_code country country_area phone)),
		%$columns);
}

sub columns
{
	my ($self) = @_;
	my %amounts = map { $_ => 0 } qw(shipping_price_net_amount shipping_price_gross_amount
	  total_net_amount undiscounted_total_net_amount undiscounted_total_gross_amount
	  total_charged_amount total_authorized_amount subtotal_net_amount subtotal_gross_amount);

	return (id => $self->{id}, number => $self->{number}, use_old_id => 'f',
		created_at => utc($self->{time}), updated_at => utc($self->{time}), status => $self->{status},
		authorize_status => 'none', charge_status => 'none', user_email => 'ewa@example.pl',
		tracking_client_id => '', origin => $self->{origin}, currency => $self->{currency},
		channel_id => 1, checkout_token => '', lines_count => scalar @{ $self->{items} },
		billing_address_id => $self->{'billing id'}, shipping_address_id => $self->{'address id'},
		%amounts, total_gross_amount => $self->{total}, %{ $self->{columns} });
}

sub lines
{
	my ($self) = @_;

	return map { insert('order_orderline', id => uuid(), created_at => utc($self->{time}),
			order_id => $self->{id}, product_name => 'Thing', variant_name => '',
			product_sku => $_->[0], product_variant_id => 'UHJvZHVjdFZhcmlhbnQ6MQ==',
			is_shipping_required => 't', is_gift_card => 'f', quantity => $_->[2],
			quantity_fulfilled => 0, currency => $self->{currency},
			unit_price_net_amount => 0, unit_price_gross_amount => $_->[1],
			total_price_net_amount => 0, total_price_gross_amount => $_->[1] * $_->[2],
			%{ $_->[3] // {} }) } @{ $self->{items} };
}

# An entry in the log.
sub entry
{
	my ($self, $type) = @_;

	++$self->{time};
	$self->{paid_at} //= $self->{time} if $type =~ /paid$/;
	return insert('order_orderevent', date => utc($self->{time}), type => $type,
		order_id => $self->{id}, parameters => '{}');
}

# What Saleor makes of the amounts; this alone is no purchase.
sub charge_status
{
	my ($self) = @_;
	my $due = $self->{total} - $self->{granted};

	$due = 0 if $due < 0;
	return 'full' if $self->{charged} == $due;
	return $self->{charged} <= 0 ? 'none' : $self->{charged} < $due ? 'partial' : 'overcharged';
}

sub save
{
	my ($self, %columns) = @_;

	return update('order_order', $self->{id}, updated_at => utc($self->{time}),
		total_charged_amount => $self->{charged}, charge_status => $self->charge_status, %columns);
}

sub transaction
{
	my ($self, $amount) = @_;

	return insert('payment_transactionitem', id => $self->{transaction}, token => uuid(),
		created_at => utc($self->{time}), modified_at => utc($self->{time}),
		currency => $self->{currency}, charged_value => $amount, authorized_value => 0,
		refunded_value => 0, canceled_value => 0, checkout_id => uuid());
}

# The entries that follow a charge.
sub log_charge
{
	my ($self) = @_;

	return () if $self->{status} eq 'draft' || $self->charge_status !~ /^(full|overcharged)$/;
	return $self->entry('order_fully_paid');
}

# A checkout; charged before, in whole or in part, or not at all.
sub checkout
{
	my ($self, $charged) = @_;

	$self->{charged} = $charged;
	return (
		($charged ? $self->transaction($charged) : ()),
		atomic($self->address('billing'), $self->address('address'),
			insert('order_order', $self->columns), $self->lines,
			($charged ? update('payment_transactionitem', $self->{transaction},
					order_id => $self->{id}, checkout_id => undef) : ()),
			$self->save($self->{metadata} ? (metadata => $json->encode($self->{metadata})) : ())),
		$self->entry('placed'), $self->log_charge);
}

sub buy { return $_[0]->checkout($_[0]{total}) }

# The payment of a checkout fails: there is a transaction and no order.
sub fail { return $_[0]->transaction(0) }

sub charge
{
	my ($self, $amount) = @_;

	$self->{transaction} = ++$last_id;
	$self->{charged} += $amount;
	return ($self->transaction($amount),
		atomic(update('payment_transactionitem', $last_id, order_id => $self->{id}), $self->save),
		$self->log_charge);
}

# Staff type it in, and complete it later.
sub draft
{
	my ($self) = @_;

	$self->{origin} = 'draft';
	$self->{status} = 'draft';
	return (atomic($self->address('billing'), $self->address('address'),
			insert('order_order', $self->columns), $self->lines, $self->save),
		$self->entry('draft_created'));
}

sub complete
{
	my ($self) = @_;

	$self->{status} = 'unfulfilled';
	return (atomic(update('order_order', $self->{id}, status => 'unfulfilled')),
		$self->entry('placed_from_draft'), $self->log_charge);
}

sub mark_as_paid
{
	my ($self) = @_;

	$self->{charged} = $self->{total};
	return atomic($self->transaction($self->{total}), $self->save, $self->entry('order_marked_as_paid'));
}

# An import: everything at once, nothing in the log.
sub import_order
{
	my ($self) = @_;

	$self->{origin} = 'bulk_create';
	return atomic($self->address('billing'), insert('order_order', $self->columns), $self->lines);
}

# That it was paid elsewhere is imported, too.
sub charge_import
{
	my ($self) = @_;

	$self->{charged} = $self->{total};
	return $self->save;
}

sub grant_refund
{
	my ($self, $amount) = @_;

	$self->{granted} += $amount;
	return atomic(insert('order_ordergrantedrefund', created_at => utc($self->{time}),
			amount_value => $amount, currency => $self->{currency}, reason => '', status => 'none',
			order_id => $self->{id}), $self->save);
}

sub refund
{
	my ($self, $amount) = @_;

	$self->{charged} -= $amount;
	return (atomic(update('payment_transactionitem', $self->{transaction},
				charged_value => $self->{charged}, refunded_value => $amount), $self->save),
		$self->entry('payment_refunded'));
}

sub cancel
{
	my ($self) = @_;

	return atomic($self->entry('canceled'), update('order_order', $self->{id}, status => 'canceled'));
}

1;
