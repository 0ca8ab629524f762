# What Airbyte writes of Shopify's orders: each sync brings the orders that were
# changed since the last one, or all of them, in the way of its sync mode.
package ShopifyAirbyte;

use strict;
use warnings;

use CapiTest::Shop qw(insert);
use JSON::PP;
use POSIX qw(strftime);

my $json = JSON::PP->new->canonical;
my $last_id = 0;
my $sync = 0;

sub utc { return strftime('%Y-%m-%d %H:%M:%S+00', gmtime $_[0]) }

# An order at Shopify.
#   items     list of [sku, price, quantity, variant id]; total
#   customer, billing, shipping   objects of the API; columns: more of orders
#   time      when it was placed, in seconds
sub order
{
	my ($class, %with) = @_;
	my $id = 5_000_000_000_000 + ++$last_id;

	return bless {
		id => $id,
		name => '#' . (1000 + $last_id),
		currency => 'USD',
		status => 'pending',
		time => time - 1200,
		columns => {},
		%with }, $class;
}

# As a row.
sub columns
{
	my ($self) = @_;
	my $n = 0;

	++$sync;
	return (id => $self->{id}, name => $self->{name}, test => 'f', email => 'kim@example.com',
		currency => $self->{currency}, created_at => utc($self->{time}), updated_at => utc($self->{time} + $sync),
		processed_at => strftime('%Y-%m-%dT%H:%M:%S-05:00', gmtime($self->{time} - 5 * 3600)), cancelled_at => $self->{cancelled} && utc($self->{time} + 60),
		financial_status => $self->{status}, total_price => $self->{total},
		current_total_price => $self->{current} // $self->{total}, source_name => 'web',
		browser_ip => '198.51.100.7', landing_site => '/products/cap?utm_source=fb&fbclid=IwAR2fGhLmNoPqRsTuVwXyZ0123456789abcdefghijkl',
		order_status_url => 'https://shop.example.com/123/orders/abcdef/authenticate?key=secret',
		client_details => $json->encode({ user_agent => 'Mozilla/5.0 (X11)', browser_width => 1200 }),
		note_attributes => $json->encode($self->{attributes} // []),
		customer => $self->{customer} && $json->encode($self->{customer}),
		billing_address => $self->{billing} && $json->encode($self->{billing}),
		shipping_address => $self->{shipping} && $json->encode($self->{shipping}),
		line_items => $json->encode([ map { { id => ++$n, sku => $_->[0], price => "$_->[1]",
						quantity => $_->[2], variant_id => $_->[3], product_id => 7 } } @{ $self->{items} } ]),
		refunds => '[]', shop_url => 'cap-shop',
		_airbyte_raw_id => "raw-$sync", _airbyte_extracted_at => utc(time - 10_000 + $sync),
		_airbyte_meta => '{"changes": [], "sync_id": 1}', _airbyte_generation_id => 1,
		%{ $self->{columns} });
}

# Incremental, appended: a row more for each order that was changed.
sub append { return map { insert('orders', $_->columns) } @_ }

# Incremental, appended and deduped: the new rows, then without the old ones.
sub dedup
{
	my @orders = @_;

	return ('BEGIN;', append(@orders),
		'DELETE FROM orders WHERE _airbyte_raw_id IN (SELECT _airbyte_raw_id FROM (SELECT _airbyte_raw_id, '
		  . 'row_number() OVER (PARTITION BY id ORDER BY updated_at DESC, _airbyte_extracted_at DESC) AS n FROM orders) x WHERE n > 1);',
		'COMMIT;');
}

# The same by a merge, as newer versions do it.
sub merge
{
	my @statements = ('BEGIN;');

	foreach my $order (@_)
	{
		my %columns = $order->columns;
		my @names = sort keys %columns;

		push @statements, 'UPDATE orders SET '
		  . join(', ', map { "$_ = " . CapiTest::Shop::literal($columns{$_}) } @names)
		  . " WHERE id = $order->{id};";
	}
	return (@statements, 'COMMIT;');
}

# Full refresh, overwritten: a new table takes the place of the old one.
sub overwrite
{
	return ('CREATE TABLE orders_airbyte_tmp (LIKE orders);',
		map({ s/INSERT INTO "orders"/INSERT INTO "orders_airbyte_tmp"/r } append(@_)),
		'DROP TABLE IF EXISTS orders;', 'ALTER TABLE orders_airbyte_tmp RENAME TO orders;');
}

1;
