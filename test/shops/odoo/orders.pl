# What Odoo writes for an order: a quotation that takes updates, amounts as
# computed columns in a later one, the confirmation when a payment is
# post-processed, which is a transaction of its own.
package Odoo;

use strict;
use warnings;

use CapiTest::Shop qw(insert update naive);

my %last_id = (res_partner => 1);

sub request { return join("\n", 'BEGIN;', @_, 'COMMIT;') }

sub now { return naive(time) }

# A quotation.
#   lines     list of [product id, quantity, price of all with tax, more columns]
#   partner   columns of res_partner; ship: of another one; or partner_id
#   columns   more of sale_order; total; date: of the confirmation, in seconds
sub quotation
{
	my ($class, %with) = @_;

	return bless {
		id => ++$last_id{sale_order},
		name => sprintf('S%05d', $last_id{sale_order}),
		currency => 1,
		date => time - 600,
		columns => { website_id => 1 },
		state => 'draft',
		%with }, $class;
}

sub new_partner
{
	my ($columns) = @_;
	my $id = ++$last_id{res_partner};

	return ($id, insert('res_partner', id => $id, commercial_partner_id => $id, is_company => 'f',
			type => 'contact', write_date => now(), %$columns));
}

sub save
{
	my ($self, %columns) = @_;

	return update('sale_order', $self->{id}, write_date => now(), %columns);
}

# The cart, at first the public visitor's, then the customer's.
sub shop
{
	my ($self) = @_;
	my @create = insert('sale_order', id => $self->{id}, name => $self->{name}, state => 'draft',
		company_id => 1, partner_id => 1, partner_invoice_id => 1, partner_shipping_id => 1,
		currency_id => $self->{currency}, date_order => naive($self->{date} - 300),
		create_date => now(), %{ $self->{columns} });
	my @partner;
	my $ship;

	push @create, map { insert('sale_order_line', id => ++$last_id{line}, order_id => $self->{id},
			product_id => $_->[0], product_uom_qty => $_->[1], price_total => $_->[2],
			price_unit => $_->[2], name => 'Thing', sequence => 10, state => 'draft',
			%{ $_->[3] // {} }) } @{ $self->{lines} };
	($self->{partner_id}, $partner[0]) = new_partner($self->{partner}) if $self->{partner};
	$ship = $self->{partner_id} // 1;
	($ship, $partner[1]) = new_partner($self->{ship}) if $self->{ship};
	$self->{ship_id} = $ship;
	return (
		request(@create, $self->save(amount_total => $self->{total}, amount_tax => 0)),
		request(@partner, $self->save(partner_id => $self->{partner_id} // 1,
				partner_invoice_id => $self->invoice_id($ship), partner_shipping_id => $ship)));
}

sub invoice_id
{
	my ($self, $ship) = @_;

	return $self->{billed_to_ship} ? $ship : $self->{partner_id} // 1;
}

# A payment begins: a transaction with a copy of the payer.
sub start_payment
{
	my ($self, %how) = @_;
	my %payer = %{ ($self->{billed_to_ship} ? $self->{ship} : $self->{partner}) // {} };
	my $id = ++$last_id{transaction};

	$self->{transaction} = $id;
	return request(
		insert('payment_transaction', id => $id, provider_id => $how{provider} // 1,
			reference => "$self->{name}-$id", amount => $how{amount} // $self->{total},
			currency_id => $self->{currency}, state => 'draft', operation => 'online_direct',
			partner_id => $self->invoice_id($self->{ship_id}), partner_name => $payer{name},
			partner_email => $payer{email_normalized}, partner_zip => $payer{zip},
			partner_city => $payer{city}, partner_state_id => $payer{state_id},
			partner_country_id => $payer{country_id}, partner_phone => $payer{phone},
			create_date => now()),
		insert('sale_order_transaction_rel', transaction_id => $id, sale_order_id => $self->{id}));
}

sub set_payment
{
	my ($self, $state) = @_;

	return request(update('payment_transaction', $self->{transaction}, state => $state,
			last_state_change => now()));
}

# Post-processing, or a salesman's click.
sub confirm
{
	my ($self, $lock) = @_;

	$self->{state} = 'sale';
	return request($self->save(state => 'sale', date_order => naive($self->{date})),
		"UPDATE sale_order_line SET state = 'sale' WHERE order_id = $self->{id};",
		$lock ? $self->save(state => 'done', locked => 't') : ());
}

sub pay
{
	my ($self, %how) = @_;

	return ($self->start_payment(%how), $self->set_payment($how{state} // 'done'));
}

sub buy
{
	my ($self, %how) = @_;

	return ($self->shop, $self->pay(%how), $self->confirm);
}

# A child of the transaction: a capture in part, or a refund.
sub child
{
	my ($self, $operation, $amount) = @_;
	my $id = ++$last_id{transaction};

	return request(
		insert('payment_transaction', id => $id, provider_id => 1, reference => "P-$id",
			amount => $amount, currency_id => $self->{currency}, state => 'done',
			operation => $operation, source_transaction_id => $self->{transaction},
			partner_id => $self->{partner_id}, create_date => now()),
		insert('sale_order_transaction_rel', transaction_id => $id, sale_order_id => $self->{id}));
}

sub capture
{
	my ($self, @amounts) = @_;

	return ((map { $self->child('online_direct', $_) } @amounts), $self->set_payment('done'));
}

# The card is checked before it is kept.
sub validate
{
	my ($self) = @_;
	my $order = $self->{transaction};
	my @check = ($self->start_payment(amount => 9999), $self->set_payment('done'),
		"UPDATE payment_transaction SET operation = 'validation' WHERE id = $self->{transaction};");

	$self->{transaction} = $order;
	return @check;
}

sub refund { return $_[0]->child('refund', -$_[1]) }

sub cancel { return request($_[0]->save(state => 'cancel')) }

# Staff cut the first line of a confirmed order.
sub cut
{
	my ($self, $quantity, $price, $total) = @_;
	my $first = "(SELECT min(id) FROM sale_order_line WHERE order_id = $self->{id} AND display_type IS NULL)";

	return request("UPDATE sale_order_line SET product_uom_qty = $quantity, price_total = $price "
		  . "WHERE id = $first;", $self->save(amount_total => $total));
}

sub rename_partner
{
	my ($self, %columns) = @_;

	return request(update('res_partner', $self->{partner_id}, %columns));
}

1;
