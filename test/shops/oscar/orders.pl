# What django-oscar 4 writes for an order: addresses first, then the order with
# its lines in one atomic block, the payment after it.
package Oscar;

use strict;
use warnings;

use CapiTest::Shop qw(insert update);
use POSIX qw(strftime);

my $last_id = 0;

sub utc { return strftime('%Y-%m-%d %H:%M:%S.75+00', gmtime $_[0]) }

# An order to be.
#   lines    list of [upc, sku, quantity, price of the line]; total
#   billing, shipping   columns of their tables; columns: more of order_order
#   placed   in seconds
sub order
{
	my ($class, %with) = @_;
	my $id = ++$last_id;

	return bless {
		id => $id,
		number => 100_000 + $id,
		status => 'Pending',
		currency => 'GBP',
		placed => time - 600,
		columns => { user_id => 5 },
		%with }, $class;
}

sub address
{
	my ($self, $which) = @_;

	return () unless $self->{$which};
	return insert("order_${which}address", id => $self->{id},
		(map { $_ => '' } qw(title first_name last_name line1 line2 line3 line4 state postcode search_text),
			$which eq 'shipping' ? qw(phone_number notes) : ()),
		%{ $self->{$which} });
}

sub place
{
	my ($self, %how) = @_;
	my $id = $self->{id};

	return (
		$self->{placed_before}++ ? () : ($self->address('shipping'), $self->address('billing')),
		'BEGIN;',
		insert('order_order', id => $id, number => $self->{number}, currency => $self->{currency},
			total_incl_tax => $self->{total}, total_excl_tax => 0, shipping_incl_tax => 0,
			shipping_excl_tax => 0, shipping_method => 'Post', shipping_code => 'post',
			status => $self->{status}, guest_email => '', date_placed => utc($self->{placed}),
			analytics_tracked => 'f', site_id => 1,
			billing_address_id => $self->{billing} && $id,
			shipping_address_id => $self->{shipping} && $id, %{ $self->{columns} }),
		(map { insert('order_line', partner_name => 'Us', partner_sku => $_->[1], title => 'Thing',
				upc => $_->[0], quantity => $_->[2], line_price_incl_tax => $_->[3],
				line_price_excl_tax => 0, unit_price_incl_tax => $_->[3], status => '',
				order_id => $id) } @{ $self->{lines} }),
		($how{end} // 'COMMIT') . ';');
}

sub pay
{
	my ($self) = @_;

	return insert('payment_source', currency => $self->{currency}, amount_allocated => $self->{total},
		amount_debited => $self->{total}, amount_refunded => 0, reference => '', order_id => $self->{id});
}

sub buy { return ($_[0]->place, $_[0]->pay) }

sub set_status
{
	my ($self, $status) = @_;

	return ("UPDATE order_order SET number = number, status = '$status' WHERE id = $self->{id};",
		insert('order_orderstatuschange', old_status => $self->{status}, new_status => $status,
			date_created => utc(time), order_id => $self->{id}));
}

sub refund
{
	my ($self) = @_;

	return "UPDATE payment_source SET amount_refunded = amount_debited WHERE order_id = $self->{id};";
}

1;
