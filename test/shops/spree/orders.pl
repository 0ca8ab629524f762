# What Spree 5 writes for an order: a cart that takes many updates, payments
# processed in the transition to complete, the state saved before the time.
package Spree;

use strict;
use warnings;

use CapiTest::Shop qw(naive insert update);

my %last_id;

sub transaction
{
	return join("\n", 'BEGIN;', @_, 'COMMIT;');
}

# A cart.
#   items    list of [variant id, price, quantity]; total with what else there is
#   address, billing   columns of spree_addresses; completed_at in seconds
#   columns  more of spree_orders
sub cart
{
	my ($class, %with) = @_;

	return bless {
		id => ++$last_id{order},
		number => 'R' . (100_000_000 + $last_id{order}),
		currency => 'USD',
		completed_at => time - 600,
		columns => {},
		payments => [],
		refunded => 0,
		%with }, $class;
}

sub now { return naive(time) }

sub row
{
	my ($table, %columns) = @_;

	return insert($table, id => ++$last_id{$table}, created_at => now(), updated_at => now(), %columns);
}

sub save
{
	my ($self, %columns) = @_;

	return update('spree_orders', $self->{id}, updated_at => now(), %columns);
}

sub change_state
{
	my ($self, $name, $to) = @_;
	my $column = $name eq 'order' ? 'state' : "${name}_state";
	my $from = $self->{$column};

	$self->{$column} = $to;
	return () if defined $from && $from eq $to;
	return row('spree_state_changes', name => $name, previous_state => $from, next_state => $to,
		stateful_type => 'Spree::Order', stateful_id => $self->{id});
}

# From the first item to the page where the customer pays.
sub shop
{
	my ($self) = @_;
	my @steps = transaction(
		insert('spree_orders', id => $self->{id}, number => $self->{number}, state => 'cart',
			email => 'kim@example.com', currency => $self->{currency}, store_id => 1,
			created_at => now(), updated_at => now(), %{ $self->{columns} }),
		map { row('spree_line_items', order_id => $self->{id}, variant_id => $_->[0],
				price => $_->[1], quantity => $_->[2], currency => $self->{currency}) }
		  @{ $self->{items} });
	my %ids;

	foreach my $which (grep { $self->{$_} } qw(address billing))
	{
		push @steps, row('spree_addresses', %{ $self->{$which} });
		$ids{$which} = $last_id{spree_addresses};
	}
	push @steps, transaction($self->save(ship_address_id => $ids{address}, bill_address_id => $ids{billing},
			last_ip_address => '198.51.100.7'));
	foreach my $state (qw(address delivery payment))
	{
		push @steps, transaction($self->save(state => $state), $self->change_state(order => $state),
			$self->save(total => $self->{total}, item_total => $self->{total}));
	}
	return @steps;
}

# A payment as the customer gives it.  state is what becomes of it.
sub add_payment
{
	my ($self, $amount, $state) = @_;
	my $create = row('spree_payments', order_id => $self->{id}, amount => $amount,
		state => 'checkout', payment_method_id => 1, source_type => 'Spree::CreditCard');

	push @{ $self->{payments} },
	  { id => $last_id{spree_payments}, amount => $amount, state => $state };
	return transaction($create);
}

sub process
{
	my ($self, $payment) = @_;

	return (update('spree_payments', $payment->{id}, state => 'processing'),
		update('spree_payments', $payment->{id}, state => $payment->{state}),
		row('spree_state_changes', name => 'payment', previous_state => 'processing',
			next_state => $payment->{state}, stateful_type => 'Spree::Payment',
			stateful_id => $payment->{id}));
}

sub paid
{
	my ($self) = @_;
	my $sum = -$self->{refunded};

	$sum += $_->{amount} foreach grep { $_->{state} eq 'completed' } @{ $self->{payments} };
	return $sum;
}

# What Spree's updater makes of payments and total.
sub payment_state
{
	my ($self) = @_;
	my $cancelled = $self->{state} eq 'canceled';
	my $owed = ($cancelled ? 0 : $self->{total}) - $self->paid;
	my @valid = grep { $_->{state} !~ /^(failed|void|invalid)$/ } @{ $self->{payments} };

	return 'failed' if @{ $self->{payments} } && !@valid;
	return 'void' if $cancelled && $self->paid == 0;
	return $owed > 0 ? 'balance_due' : $owed < 0 ? 'credit_owed' : 'paid';
}

sub update_payment_state
{
	my ($self) = @_;

	return ($self->change_state(payment => $self->payment_state),
		$self->save(payment_state => $self->{payment_state}, payment_total => $self->paid));
}

# The transition to complete; split when the time is touched in a transaction
# of its own.
sub complete
{
	my ($self, %how) = @_;

	return (
		join("\n", 'BEGIN;', "SELECT * FROM spree_orders WHERE id = $self->{id} FOR UPDATE;",
			(map { $self->process($_) } grep { $_->{state} ne 'failed' } @{ $self->{payments} }),
			$self->save(state => 'complete'), $self->change_state(order => 'complete'),
			$self->change_state(payment => $self->payment_state),
			$self->save(payment_state => $self->{payment_state}, status => 'placed',
				updated_at => naive($self->{completed_at})),
			$how{split} ? 'COMMIT; BEGIN;' : ()),
		update('spree_orders', $self->{id}, completed_at => naive($self->{completed_at}),
			updated_at => naive($self->{completed_at})),
		'COMMIT;');
}

# A payment that fails leaves the order where it is.
sub fail
{
	my ($self) = @_;

	return ($self->add_payment($self->{total}, 'failed'),
		transaction($self->process($self->{payments}[-1])));
}

sub buy
{
	my ($self, $state) = @_;

	return ($self->shop, $self->add_payment($self->{total}, $state // 'completed'), $self->complete);
}

sub capture
{
	my ($self) = @_;

	$_->{state} = 'completed' foreach @{ $self->{payments} };
	return transaction((map { $self->process($_) } @{ $self->{payments} }), $self->update_payment_state);
}

sub refund
{
	my ($self, $amount) = @_;

	$self->{refunded} += $amount;
	return transaction(row('spree_refunds', payment_id => $self->{payments}[0]{id}, amount => $amount),
		$self->update_payment_state);
}

# Cancelling voids the payments.
sub cancel
{
	my ($self) = @_;

	$_->{state} = 'void' foreach @{ $self->{payments} };
	return transaction($self->save(canceled_at => now()), $self->save(state => 'canceled'),
		$self->change_state(order => 'canceled'), $self->save(status => 'canceled'),
		(map { update('spree_payments', $_->{id}, state => 'void') } @{ $self->{payments} }),
		$self->update_payment_state);
}

# Staff take the last item out of an order that was paid.
sub reduce
{
	my ($self, $total) = @_;
	my $item = $last_id{spree_line_items};

	pop @{ $self->{items} };
	$self->{total} = $total;
	return transaction("DELETE FROM spree_line_items WHERE id = $item;",
		$self->save(total => $total, item_total => $total), $self->update_payment_state);
}

1;
