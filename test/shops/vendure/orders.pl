# What Vendure 3 writes for an order, request by request: one HTTP request is
# one transaction, its parts are savepoints, rows are saved by TypeORM.  Each
# method returns the statements of one or more requests.
package Vendure;

use strict;
use warnings;

use CapiTest::Shop qw(naive insert update);
use JSON::PP;

my $json = JSON::PP->new->canonical;
my %last_id;
my %customers;

# One request.
sub request
{
	return join("\n", 'START TRANSACTION;', @_, 'COMMIT;');
}

sub savepoint
{
	my ($number, @statements) = @_;

	return ("SAVEPOINT typeorm_$number;", @statements, "RELEASE SAVEPOINT typeorm_$number;");
}

# A cart that was not saved yet.
#   items     list of [variant id, list price, quantity]; prices are net, unless
#   gross     says that they include the tax; rate is the tax in percent
#   customer  columns of the customer's row, with its id
#   shipping, billing   addresses; placed_at in seconds; hours of the Node
#   process's clock ahead of UTC
sub cart
{
	my ($class, %with) = @_;
	my $id = ++$last_id{order};

	return bless {
		id => $id,
		code => 'V' . (7000 + $id),
		currency => 'EUR',
		rate => 20,
		gross => 0,
		delivery => 500,
		billing => {},
		hours => 0,
		placed_at => time - 600,
		payments => [],
		%with,
		items => [ map { { id => ++$last_id{order_line}, variant => $_->[0],
					price => $_->[1], quantity => $_->[2], placed => 0 } } @{ $with{items} } ]
	}, $class;
}

sub save
{
	my ($self, %columns) = @_;

	return update('order', $self->{id}, 'updatedAt' => naive(time, $self->{hours}), %columns);
}

sub history
{
	my ($self, $from, $to) = @_;

	return insert('history_entry', type => 'ORDER_STATE_TRANSITION', isPublic => 't',
		data => $json->encode({ from => $from, to => $to }),
		discriminator => 'order-history-entry', orderId => $self->{id});
}

sub transition
{
	my ($self, $to, %columns) = @_;
	my $from = $self->{state};

	$self->{state} = $to;
	return ($self->save(state => $to), $self->history($from, $to),
		$self->save(state => $to, %columns));
}

# The price of one piece, the totals, in the smallest unit.
sub unit_with_tax
{
	my ($self, $item) = @_;

	return $item->{price} if $self->{gross};
	return int($item->{price} * (100 + $self->{rate}) / 100 + 0.5);
}

sub totals
{
	my ($self) = @_;
	my $with_tax = 0;

	$with_tax += $_->{quantity} * $self->unit_with_tax($_) foreach @{ $self->{items} };
	$self->{total} = $with_tax + $self->{delivery};
	return (subTotalWithTax => $with_tax,
		subTotal => int($with_tax * 100 / (100 + $self->{rate}) + 0.5),
		shippingWithTax => $self->{delivery}, shipping => $self->{delivery});
}

sub tax_lines
{
	my ($self) = @_;

	return $json->encode([ { description => 'Standard', taxRate => $self->{rate} } ]);
}

# Steps 1 to 6 of a checkout.
sub add_items
{
	my ($self) = @_;
	my @items = @{ $self->{items} };
	my @requests;
	my $new = $self->{state} // '';

	foreach my $item (@items)
	{
		my @first = $item == $items[0] && $new ne 'Draft' ? $self->create('AddingItems', 't') : ();

		push @requests, request(@first, $self->add_line($item), $self->save($self->totals),
			update('order_line', $item->{id}, taxLines => $self->tax_lines));
	}
	return @requests;
}

sub create
{
	my ($self, $state, $active) = @_;

	$self->{state} = $state;
	return (insert('order', id => $self->{id}, code => $self->{code}, state => 'Created',
			active => $active, couponCodes => '', shippingAddress => '{}', billingAddress => '{}',
			currencyCode => $self->{currency}, subTotal => 0, subTotalWithTax => 0),
		insert('order_channels_channel', orderId => $self->{id}, channelId => 1),
		$self->save(state => $state), $self->history('Created', $state), $self->save);
}

sub add_line
{
	my ($self, $item) = @_;

	return (insert('order_line', id => $item->{id}, quantity => 0,
			listPriceIncludesTax => $self->{gross} ? 't' : 'f', adjustments => '[]',
			taxLines => '[]', productVariantId => $item->{variant},
			listPrice => $item->{price}, initialListPrice => $item->{price}),
		update('order_line', $item->{id}, orderId => $self->{id}),
		update('order_line', $item->{id}, quantity => $item->{quantity}));
}

sub fill_in
{
	my ($self) = @_;
	my %customer = %{ $self->{customer} };
	my $id = delete $customer{id};
	my $row = $json->encode(\%customer);
	my $before = $customers{$id};

	# what did not change is not written
	$customers{$id} = $row;
	return (
		request(!defined $before ? insert('customer', id => $id, %customer) :
			  $before ne $row ? update('customer', $id, updatedAt => \'now()', %customer) : (),
			$self->save(customerId => $id)),
		request($self->save(shippingAddress => $json->encode($self->{shipping})),
			$self->save(billingAddress => $json->encode($self->{billing})),
			update('order', $self->{id}, updatedAt => naive(time - 1, $self->{hours}))),
		request(insert('shipping_line', listPriceIncludesTax => 't', adjustments => '[]',
				taxLines => '[]', shippingMethodId => 1, listPrice => $self->{delivery},
				orderId => $self->{id}),
			(map { update('order_line', $_->{id}, taxLines => $self->tax_lines) } @{ $self->{items} }),
			$self->save($self->totals), $self->save));
}

sub checkout
{
	my ($self) = @_;

	return ($self->add_items, $self->fill_in,
		request(savepoint(1, $self->transition('ArrangingPayment'))));
}

# Step 9: a payment, and what follows from it.
#   state    that the payment takes: Settled, Authorized, Declined
#   amount   in part; the rest otherwise
#   order    the state of the order that follows, if any
#   end      COMMIT, or ROLLBACK when something went wrong after all
sub pay
{
	my ($self, %how) = @_;
	my $state = $how{state} // 'Settled';
	my $id = ++$last_id{payment};
	my $amount = $how{amount} // $self->{total} - $self->paid;
	my $payment = { id => $id, state => $state, amount => $amount };
	my @order;

	push @{ $self->{payments} }, $payment unless $how{end};
	@order = savepoint(2, $self->place("Payment$state"))
	  if $state ne 'Declined' && $self->paid + ($how{end} ? $amount : 0) >= $self->{total};
	return join("\n", 'START TRANSACTION;',
		savepoint(1,
			insert('payment', id => $id, method => 'card', state => 'Created', metadata => '{}',
				amount => $amount, ($how{known} ? (orderId => $self->{id}) : ())),
			update('payment', $id, state => $state,
				$state eq 'Declined' ? (errorMessage => 'no funds') : (transactionId => "tx$id")),
			update('payment', $id, orderId => $self->{id}),
			$self->history('Created', $state)),
		@order,
		update('payment', $id, updatedAt => naive(time, $self->{hours})),
		($how{end} // 'COMMIT') . ';');
}

sub paid
{
	my ($self) = @_;
	my $sum = 0;

	$sum += $_->{amount} foreach grep { $_->{state} ne 'Declined' } @{ $self->{payments} };
	return $sum;
}

# The order's part of that: the state is saved before "orderPlacedAt" is.
sub place
{
	my ($self, $state) = @_;
	my $from = $self->{state};

	$self->{state} = $state;
	return ($self->save(state => $state),
		(map { update('order_line', $_->{id}, orderPlacedQuantity => $_->{quantity}),
			insert('stock_movement', type => 'ALLOCATION', quantity => $_->{quantity},
				discriminator => 'Allocation', productVariantId => $_->{variant},
				orderLineId => $_->{id}) } @{ $self->{items} }),
		$self->sellers($state),
		$self->history($from, $state),
		$self->save(state => $state, active => 'f',
			orderPlacedAt => naive($self->{placed_at}, $self->{hours}),
			$self->{split} ? (type => 'Aggregate') : ()));
}

# Several sellers: a part of the order for each, inserted paid.
sub sellers
{
	my ($self, $state) = @_;
	my @statements;

	foreach my $item ($self->{split} ? @{ $self->{items} } : ())
	{
		my $part = ++$last_id{order};

		push @{ $self->{parts} }, $part;
		push @statements, insert('order', id => $part, code => "$self->{code}-$part",
			type => 'Seller', aggregateOrderId => $self->{id}, active => 'f', state => $state,
			orderPlacedAt => naive($self->{placed_at}, $self->{hours}), couponCodes => '',
			shippingAddress => $json->encode($self->{shipping}), billingAddress => '{}',
			customerId => $self->{customer}{id}, currencyCode => $self->{currency},
			subTotal => 0, subTotalWithTax => 0),
		  insert('order_line', id => ++$last_id{order_line}, orderId => $part,
			quantity => $item->{quantity}, orderPlacedQuantity => $item->{quantity},
			listPriceIncludesTax => 'f', adjustments => '[]', taxLines => $self->tax_lines,
			productVariantId => $item->{variant}, listPrice => $item->{price},
			sellerChannelId => 3),
		  update('order', $part, subTotalWithTax => $item->{quantity} * $self->unit_with_tax($item));
	}
	return @statements;
}

sub buy
{
	my ($self, %how) = @_;

	return ($self->checkout, $self->pay(%how));
}

# A free order goes on without a payment.
sub take_free
{
	my ($self) = @_;

	return ($self->checkout, request(savepoint(1, $self->place('PaymentSettled'))));
}

# What may follow.

sub settle
{
	my ($self) = @_;
	my $payment = $self->{payments}[-1];

	$payment->{state} = 'Settled';
	return request(savepoint(1, update('payment', $payment->{id}, state => 'Settled'),
			$self->history('Authorized', 'Settled')),
		savepoint(2, $self->transition('PaymentSettled')));
}

# The money comes another way; what was authorised is left as it is.
sub settle_otherwise
{
	my ($self) = @_;

	return request(
		insert('payment', id => ++$last_id{payment}, method => 'manual', state => 'Settled',
			metadata => '{}', amount => $self->{total}, orderId => $self->{id}),
		$self->transition('PaymentSettled'));
}

sub cancel
{
	my ($self, $payment_state) = @_;
	my @payment = $payment_state ?
	  request(update('payment', $self->{payments}[-1]{id}, state => $payment_state)) : ();

	return (@payment, request(
			(map { insert('stock_movement', type => 'RELEASE', quantity => $_->{quantity},
					discriminator => 'Release', productVariantId => $_->{variant},
					orderLineId => $_->{id}),
				update('order_line', $_->{id}, quantity => 0) } @{ $self->{items} }),
			"UPDATE shipping_line SET adjustments = '[]' WHERE \"orderId\" = $self->{id};",
			$self->save(subTotal => 0, subTotalWithTax => 0, shipping => 0, shippingWithTax => 0),
			$self->transition('Cancelled')));
}

# The merchant gives the authorised money back: the order stays as it is.
sub void_payment
{
	my ($self) = @_;
	my $payment = $self->{payments}[-1];

	$payment->{state} = 'Cancelled';
	return request(update('payment', $payment->{id}, state => 'Cancelled'));
}

# All of the n-th line.
sub cancel_line
{
	my ($self, $n) = @_;
	my $item = $self->{items}[$n];

	$item->{quantity} = 0;
	return request(update('order_line', $item->{id}, quantity => 0), $self->save($self->totals));
}

sub refund
{
	my ($self, $amount) = @_;
	my $id = ++$last_id{refund};

	return (request(insert('refund', id => $id, method => 'card', state => 'Pending',
				metadata => '{}', paymentId => $self->{payments}[0]{id}, items => 0,
				shipping => 0, adjustment => 0, total => $amount)),
		request(update('refund', $id, state => 'Settled', transactionId => "re$id")));
}

# One more item is added by staff and paid; the admin API reprices the first
# line in the channel's own currency while it is at it.
sub modify
{
	my ($self, $variant, $price, $quantity, $reprice) = @_;
	my $item = { id => ++$last_id{order_line}, variant => $variant, price => $price,
		quantity => $quantity };
	my $modification = ++$last_id{modification};
	my $state = $self->{state};
	my @requests = request($self->transition('Modifying'));
	my $before = $self->{total};
	my $payment = ++$last_id{payment};

	push @{ $self->{items} }, $item;
	push @requests, request($self->add_line($item),
		update('order_line', $item->{id}, taxLines => $self->tax_lines),
		update('order_line', $self->{items}[0]{id}, listPrice => $reprice // $self->{items}[0]{price}),
		insert('order_modification', id => $modification, note => 'one more', priceChange =>
			$self->unit_with_tax($item) * $quantity, orderId => $self->{id}),
		$self->save($self->totals));
	push @requests, request($self->transition('ArrangingAdditionalPayment'));
	push @requests, request(
		insert('payment', id => $payment, method => 'manual', state => 'Settled', metadata => '{}',
			amount => $self->{total} - $before, orderId => $self->{id}),
		update('order_modification', $modification, paymentId => $payment),
		$self->transition($state));
	return @requests;
}

sub ship
{
	my ($self) = @_;

	return (request($self->transition('Shipped')), request($self->transition('Delivered')));
}

# An order typed in by staff: active only while it is being paid.
sub draft
{
	my ($self) = @_;
	my @create = request($self->create('Draft', 'f'));

	return (@create, $self->add_items, $self->fill_in,
		request($self->transition('ArrangingPayment', active => 't')));
}

sub remove
{
	my ($self) = @_;

	return request(qq{UPDATE shipping_line SET "orderId" = NULL WHERE "orderId" = $self->{id};},
		qq{DELETE FROM "order" WHERE id = $self->{id};});
}

1;
