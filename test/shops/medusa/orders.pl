# What Medusa v2 writes for an order: one transaction for each step of a
# workflow, so a checkout is many of them, and a step that fails is undone by
# later ones.  Each method returns the statements of its steps.
package Medusa;

use strict;
use warnings;

use CapiTest::Shop qw(insert update);
use JSON::PP;
use POSIX qw(strftime);

my $json = JSON::PP->new->canonical;
my $last_id = 0;

sub step
{
	return join("\n", 'BEGIN;', @_, 'COMMIT;');
}

sub new_id { return sprintf('%s_01J%05d', $_[0], ++$last_id) }

sub utc { return strftime('%Y-%m-%d %H:%M:%S.5+00', gmtime $_[0]) }

# An amount twice, as everywhere in Medusa.
sub amount
{
	my ($name, $amount) = @_;

	return ($name => $amount,
		"raw_$name" => $json->encode({ value => "$amount", precision => 20 }));
}

# A cart.  Amounts are texts, because they are not rounded.
#   items     list of [sku, unit price, quantity]; sku undef for none
#   total     of the order, with tax and shipping
#   customer  id; email; address, billing: columns; metadata: of the cart
#   time      of the order, in seconds; a step takes a second
sub cart
{
	my ($class, %with) = @_;

	return bless {
		cart_id => new_id('cart'),
		currency => 'eur',
		status => 'pending',
		draft => 0,
		version => 1,
		time => time - 3600,
		captured => 0,
		%with,
		collection => new_id('pay_col'),
		lines => [ map { { id => new_id('ordli'), sku => $_->[0], price => $_->[1],
					quantity => $_->[2] } } @{ $with{items} } ]
	}, $class;
}

sub tick { return utc(++$_[0]{time}) }

# 1 and 2: the customer, and what is to be paid.
sub start
{
	my ($self) = @_;

	return (
		step(insert('customer', id => $self->{customer}, email => $self->{email},
				%{ $self->{account} // {} })),
		$self->collect($self->{collection}, $self->{total}));
}

sub collect
{
	my ($self, $id, $amount) = @_;

	return step(insert('payment_collection', id => $id, currency_code => $self->{currency},
			amount('amount', $amount), created_at => $self->tick));
}

# 3 to 5: the order is there, before anything is paid.
sub place
{
	my ($self) = @_;

	$self->{id} = new_id('order');
	return ($self->create, $self->link_cart, $self->link_collection($self->{collection}));
}

sub create
{
	my ($self) = @_;
	my $method = new_id('ordsm');
	my %address;

	foreach my $which (qw(address billing))
	{
		$address{$which} = new_id('ordaddr') if $self->{$which};
	}
	return step(
		insert('order_shipping_method', id => $method, name => 'Post', amount('amount', '5')),
		(map { $self->line($_) } @{ $self->{lines} }),
		(map { insert('order_address', id => $address{$_}, customer_id => $self->{customer},
				%{ $self->{$_} }) } sort keys %address),
		insert('order', id => $self->{id}, status => $self->{status},
			is_draft_order => $self->{draft}, email => $self->{email},
			customer_id => $self->{customer}, currency_code => $self->{currency},
			shipping_address_id => $address{address}, billing_address_id => $address{billing},
			metadata => $self->{metadata} && $json->encode($self->{metadata}),
			created_at => $self->tick),
		insert('order_shipping', id => new_id('ordspmv'), order_id => $self->{id}, version => 1,
			shipping_method_id => $method),
		$self->summary(original => $self->{untaxed} // $self->{total}),
		$self->items);
}

sub line
{
	my ($self, $line) = @_;

	return (insert('order_line_item', id => $line->{id}, title => 'Thing',
			variant_id => "variant_$line->{id}", product_id => 'prod_1', variant_sku => $line->{sku},
			amount('unit_price', $line->{price})),
		insert('order_line_item_tax_line', id => new_id('ordlitxl'), code => 'default',
			amount('rate', 20), item_id => $line->{id}));
}

sub items
{
	my ($self) = @_;

	return map { insert('order_item', id => new_id('orditem'), order_id => $self->{id},
			version => $self->{version}, item_id => $_->{id}, amount('quantity', $_->{quantity})) }
	  @{ $self->{lines} };
}

# A row of totals for this version: what the order is worth now, at first, and
# what was paid.
sub summary
{
	my ($self, %with) = @_;

	$self->{original} = $with{original} if defined $with{original};
	$self->{worth} = $with{original} // $with{worth} // $self->{worth};
	return insert('order_summary', id => new_id('ordsum'), order_id => $self->{id},
		version => $self->{version}, totals => $self->totals);
}

sub totals
{
	my ($self) = @_;

	return $json->encode({
		original_order_total => 0 + $self->{original},
		current_order_total => 0 + $self->{worth},
		paid_total => 0 + $self->{captured},
		pending_difference => $self->{worth} - $self->{captured} });
}

sub update_summary
{
	my ($self) = @_;

	return "UPDATE order_summary SET totals = '" . $self->totals
	  . "' WHERE order_id = '$self->{id}' AND version = $self->{version};";
}

sub link_cart
{
	my ($self) = @_;

	return step(insert('order_cart', id => new_id('ordercart'), order_id => $self->{id},
			cart_id => $self->{cart_id}));
}

sub link_collection
{
	my ($self, $collection) = @_;

	return step(insert('order_payment_collection', id => new_id('ordpay'),
			order_id => $self->{id}, payment_collection_id => $collection));
}

# 6 and 7.
sub authorize
{
	my ($self, %how) = @_;
	my $amount = $how{amount} // $self->{total};
	my $collection = $how{collection} // $self->{collection};

	$self->{payment} = new_id('pay');
	return (
		step(insert('payment', id => $self->{payment}, amount('amount', $amount),
				currency_code => $self->{currency}, provider_id => 'pp_card', data => '{}',
				payment_collection_id => $collection, payment_session_id => new_id('payses'),
				created_at => $self->tick),
			$how{capture} ? $self->take($amount, $collection, 1) : ()),
		step(update('payment_collection', $collection, amount('authorized_amount', $amount),
				$how{capture} ? (status => 'completed') : (status => 'authorized'))));
}

# The first three parts of a capture, as statements.
sub take
{
	my ($self, $amount, $collection, $whole) = @_;

	return (
		insert('capture', id => new_id('capt'), amount('amount', $amount),
			payment_id => $self->{payment}, created_at => $self->tick),
		($whole ? update('payment', $self->{payment}, captured_at => utc($self->{time})) : ()),
		update('payment_collection', $collection, amount('captured_amount', $amount),
			$whole ? (status => 'completed', completed_at => utc($self->{time})) :
			  (status => 'partially_captured')));
}

# 11: what the rule waits for.
sub note
{
	my ($self, $amount, $reference) = @_;

	$self->{captured} += $amount;
	$self->{paid_at} = ++$self->{time} if $reference eq 'capture';
	return step(
		insert('order_transaction', id => new_id('ordtrx'), order_id => $self->{id},
			version => $self->{version}, amount('amount', $amount),
			currency_code => $self->{currency}, reference => $reference,
			reference_id => $self->{payment}, created_at => utc($self->{time})),
		$self->update_summary);
}

# 8 to 11.
sub capture
{
	my ($self, %how) = @_;
	my $amount = $how{amount} // $self->{total};
	my @parts = $self->take($amount, $how{collection} // $self->{collection}, !$how{part});

	return ((map { step($_) } @parts), $self->note($amount, 'capture'));
}

# Staff add a line before anything is captured: what was authorised is given
# back, and the whole is asked for anew.
sub edit_before_capture
{
	my ($self, $sku, $price, $total) = @_;
	my $line = { id => new_id('ordli'), sku => $sku, price => $price, quantity => 1 };
	my $old = $self->{collection};

	push @{ $self->{lines} }, $line;
	$self->{total} = $total;
	$self->{collection} = new_id('pay_col');
	return (step($self->line($line), $self->next_version(worth => $total)),
		step(update('payment', $self->{payment}, canceled_at => utc(time))),
		step(update('payment_collection', $old, status => 'canceled')),
		$self->collect($self->{collection}, $total), $self->link_collection($self->{collection}));
}

# An order that costs nothing has no payment.
sub take_free
{
	my ($self) = @_;

	$self->{id} = new_id('order');
	return ($self->create, $self->link_cart);
}

# The payment collection is given up for another one.
sub collect_anew
{
	my ($self) = @_;
	my $old = $self->{collection};

	$self->{collection} = new_id('pay_col');
	return (step("UPDATE order_payment_collection SET deleted_at = now() WHERE payment_collection_id = '$old';"),
		$self->collect($self->{collection}, $self->{total}),
		$self->link_collection($self->{collection}));
}

sub soft_delete
{
	return step(update('order', $_[0]{id}, deleted_at => utc(time)));
}

sub buy
{
	my ($self) = @_;

	return ($self->start, $self->place, $self->authorize, $self->capture);
}

# The provider captures at checkout.
sub buy_at_once
{
	my ($self) = @_;

	return ($self->start, $self->place, $self->authorize(capture => 1),
		$self->note($self->{total}, 'capture'));
}

# The provider refuses: everything of the order is deleted again.
sub refuse
{
	my ($self) = @_;
	my $lines = join(', ', map { "'$_->{id}'" } @{ $self->{lines} });
	my $id = $self->{id};
	my @requests = (
		step("UPDATE order_cart SET deleted_at = now() WHERE order_id = '$id';"),
		step("UPDATE order_payment_collection SET deleted_at = now() WHERE order_id = '$id';"),
		step("DELETE FROM order_address WHERE id IN (SELECT shipping_address_id FROM \"order\" WHERE id = '$id');",
			"DELETE FROM \"order\" WHERE id = '$id';",
			"DELETE FROM order_line_item WHERE id IN ($lines);"));

	$_->{id} = new_id('ordli') foreach @{ $self->{lines} };
	return @requests;
}

# What may follow.

# A new version of the order, with all lines and totals again.
sub next_version
{
	my ($self, %with) = @_;

	++$self->{version};
	return ($self->summary(worth => $with{worth} // $self->{worth}), $self->items,
		update('order', $self->{id}, version => $self->{version}, updated_at => $self->tick));
}

sub credit
{
	my ($self, $amount) = @_;

	return insert('order_credit_line', id => new_id('ordcl'), order_id => $self->{id},
		version => $self->{version} + 1, amount('amount', $amount));
}

sub give_back
{
	my ($self, $amount) = @_;

	return (
		step(insert('refund', id => new_id('ref'), amount('amount', $amount),
				payment_id => $self->{payment})),
		step(update('payment_collection', $self->{collection}, amount('refunded_amount', $amount))),
		$self->note(-$amount, 'refund'));
}

sub refund
{
	my ($self, $amount) = @_;

	return ($self->give_back($amount),
		step($self->credit($amount), $self->next_version(worth => $self->{worth} - $amount)));
}

sub cancel
{
	my ($self) = @_;
	my $paid = $self->{captured};

	return (
		($paid ? $self->give_back($paid) : step(update('payment', $self->{payment}, canceled_at => utc(time)))),
		step($self->credit($paid), $self->next_version(worth => $paid ? 0 : $self->{worth})),
		step(update('payment_collection', $self->{collection}, status => 'canceled')),
		step(update('order', $self->{id}, status => 'canceled', canceled_at => utc(time))));
}

sub ship
{
	my ($self) = @_;

	return (step($self->next_version), step($self->next_version));
}

# Staff change the order: a line more, and its payment collection.
sub add_line
{
	my ($self, $sku, $price, $difference) = @_;
	my $line = { id => new_id('ordli'), sku => $sku, price => $price, quantity => 1 };
	my $collection = $self->{second} = new_id('pay_col');

	push @{ $self->{lines} }, $line;
	return (step($self->line($line), $self->next_version(worth => $self->{worth} + $difference)),
		$self->collect($collection, $difference), $self->link_collection($collection));
}

sub drop_line
{
	my ($self, $difference) = @_;

	pop @{ $self->{lines} };
	return step($self->next_version(worth => $self->{worth} - $difference));
}

# Typed in by staff: the totals are written before the tax is known.
sub draft
{
	my ($self) = @_;

	$self->{id} = new_id('order');
	return ($self->create,
		($self->{stays} ? () :
			  step(update('order', $self->{id}, status => 'pending', is_draft_order => 'f'))),
		$self->collect($self->{collection}, $self->{total}),
		$self->link_collection($self->{collection}));
}

1;
