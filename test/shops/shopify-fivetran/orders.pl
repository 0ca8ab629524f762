# What Fivetran writes of Shopify's orders: a sync merges what was changed, table by
# table, each in a transaction of its own, orders before their lines.
package ShopifyFivetran;

use strict;
use warnings;

use CapiTest::Shop qw(insert literal);
use POSIX qw(strftime);

my %last_id;

sub utc { return strftime('%Y-%m-%d %H:%M:%S+00', gmtime $_[0]) }

# An order at Shopify.
#   items     list of [sku, price, quantity, variant id]; total
#   customer  columns, with its id; billing, shipping: columns without their
#   prefix; columns: more of "order"; time: when it was placed, in seconds
sub order
{
	my ($class, %with) = @_;
	my $id = 5_000_000_000_000 + ++$last_id{order};

	return bless {
		id => $id,
		name => '#' . (1000 + $last_id{order}),
		currency => 'USD',
		status => 'pending',
		time => time - 1200,
		columns => {},
		%with,
		lines => [ map { { id => ++$last_id{line}, sku => $_->[0], price => $_->[1],
					quantity => $_->[2], variant_id => $_->[3] } } @{ $with{items} } ]
	}, $class;
}

sub table { return insert($_[0], @_[ 1 .. $#_ ]) =~ s/"\Q$_[0]\E"/shopify."$_[0]"/r }

sub columns
{
	my ($self) = @_;
	my %address;

	foreach my $which (qw(billing shipping))
	{
		my $columns = $self->{$which} // {};

		$address{"${which}_address_$_"} = $columns->{$_} foreach keys %$columns;
	}
	return (id => $self->{id}, name => $self->{name}, test => 'f', email => 'kim@example.com',
		customer_id => $self->{customer} && $self->{customer}{id},
		currency => $self->{currency}, financial_status => $self->{status},
		total_price => $self->{total}, current_total_price => $self->{current} // $self->{total},
		source_name => 'web', browser_ip => '198.51.100.7',
		client_details_user_agent => 'Mozilla/5.0 (X11)',
		landing_site_base_url => '/products/cap?fbclid=IwAR2fGhLmNoPqRsTuVwXyZ0123456789abcdefghijkl',
		order_status_url => 'https://shop.example.com/123/orders/abcdef/authenticate?key=secret',
		created_at => utc($self->{time}), processed_at => utc($self->{time}), updated_at => utc(time),
		cancelled_at => $self->{cancelled} && utc($self->{time} + 60),
		_fivetran_deleted => 'f', _fivetran_synced => utc(time), %address, %{ $self->{columns} });
}

sub upsert
{
	my ($table, $id, %columns) = @_;

	return table($table, id => $id, %columns) =~ s/;\z//r
	  . ' ON CONFLICT (id) DO UPDATE SET '
	  . join(', ', map { qq{"$_" = excluded."$_"} } sort keys %columns) . ';';
}

# A sync of these orders.
sub sync
{
	my @orders = @_;

	return (
		'BEGIN;', (map { my %c = %{ $_->{customer} }; upsert('customer', delete $c{id}, %c) }
			  grep { $_->{customer} } @orders), 'COMMIT;',
		'BEGIN;', (map { my %c = $_->columns; upsert('order', delete $c{id}, %c) } @orders), 'COMMIT;',
		lines(@orders));
}

sub lines
{
	my @orders = @_;

	return ('BEGIN;',
		(map { my $order = $_; my $n = 0; map { my %l = %$_; upsert('order_line', delete $l{id}, %l,
					order_id => $order->{id}, index => ++$n, product_id => 7) } @{ $order->{lines} } } @orders),
		'COMMIT;');
}

# The rows are deleted and inserted again.
sub rewrite
{
	my @orders = @_;
	my $ids = join(', ', map { $_->{id} } @orders);

	return ('BEGIN;', qq{DELETE FROM shopify."order" WHERE id IN ($ids);},
		(map { table('order', $_->columns) } @orders), 'COMMIT;');
}

# A table is synced anew: every row is marked deleted for a while.
sub resync
{
	my @orders = @_;

	return (qq{UPDATE shopify."order" SET _fivetran_deleted = true;}, sync(@orders));
}

1;
