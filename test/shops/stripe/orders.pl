# What the Stripe Sync Engine writes: an object of Stripe's for each event that
# Stripe sends, whole, by an upsert of its own, in any order and perhaps twice.
package Stripe;

use strict;
use warnings;

use CapiTest::Shop qw(literal);
use JSON::PP;

my $json = JSON::PP->new->canonical;
my $last_id = 0;

sub new_id { return sprintf('%s_1P%06d', $_[0], ++$last_id) }

# One event: the object as it is now.
sub event
{
	my ($table, %object) = @_;
	my $raw = literal($json->encode(\%object));

	return "INSERT INTO stripe.$table (_raw_data, _account_id, _last_synced_at) VALUES ($raw, 'acct_1', now()) "
	  . 'ON CONFLICT (id) DO UPDATE SET _raw_data = EXCLUDED._raw_data, _last_synced_at = EXCLUDED._last_synced_at;';
}

# A payment that begins.
#   amount, currency; time in seconds
#   customer  object; billing: details that came with the card
#   intent    more members of the payment intent
sub payment
{
	my ($class, %with) = @_;

	return bless {
		id => new_id('pi'),
		currency => 'usd',
		received => 0,
		status => 'requires_payment_method',
		time => time - 600,
		livemode => JSON::PP::true,
		intent => {},
		%with }, $class;
}

sub intent
{
	my ($self, $status) = @_;

	$self->{status} = $status if defined $status;
	return event('payment_intents', id => $self->{id}, object => 'payment_intent',
		amount => $self->{amount}, amount_received => $self->{received}, currency => $self->{currency},
		created => $self->{time} - 120, livemode => $self->{livemode}, metadata => {},
		customer => $self->{customer} && $self->{customer}{id}, status => $self->{status},
		latest_charge => $self->{charge}, shipping => $self->{shipping}, %{ $self->{intent} });
}

sub customer
{
	my ($self) = @_;

	return () unless $self->{customer};
	return event('customers', object => 'customer', %{ $self->{customer} });
}

sub begin { return ($_[0]->customer, $_[0]->intent) }

sub charge
{
	my ($self, %columns) = @_;

	$self->{charge} //= new_id('ch');
	return event('charges', id => $self->{charge}, object => 'charge', amount => $self->{amount},
		created => $self->{time}, currency => $self->{currency}, payment_intent => $self->{id},
		customer => $self->{customer} && $self->{customer}{id}, livemode => $self->{livemode},
		billing_details => $self->{billing} // {}, shipping => $self->{shipping}, amount_refunded => 0,
		payment_method_details => { type => $self->{way} // 'card' }, %columns);
}

# The payment succeeds, at once or after it was authorised.
sub succeed
{
	my ($self, $amount) = @_;
	my @charge = $self->charge(paid => JSON::PP::true, captured => JSON::PP::true, status => 'succeeded');

	$self->{received} = $amount // $self->{amount};
	return ($self->intent('succeeded'), @charge);
}

sub authorize
{
	my ($self) = @_;
	my @charge = $self->charge(paid => JSON::PP::true, captured => JSON::PP::false, status => 'succeeded');

	return ($self->intent('requires_capture'), @charge);
}

# A debit that takes days.
sub wait
{
	my ($self) = @_;
	my @charge = $self->charge(paid => JSON::PP::false, captured => JSON::PP::true, status => 'pending');

	return ($self->intent('processing'), @charge);
}

sub fail
{
	my ($self) = @_;
	my @charge = $self->charge(paid => JSON::PP::false, captured => JSON::PP::false, status => 'failed');

	delete $self->{charge};
	return (@charge, $self->intent('requires_payment_method'));
}

sub cancel { return $_[0]->intent('canceled') }
sub buy { return ($_[0]->begin, $_[0]->succeed) }

sub refund
{
	my ($self, $amount) = @_;

	return (event('refunds', id => new_id('re'), object => 'refund', amount => $amount,
			charge => $self->{charge}, payment_intent => $self->{id}, currency => $self->{currency},
			status => 'succeeded', created => $self->{time} + 60),
		$self->charge(paid => JSON::PP::true, captured => JSON::PP::true, status => 'succeeded',
			amount_refunded => $amount, refunded => $amount == $self->{amount} ? JSON::PP::true : JSON::PP::false));
}

# The invoice of a payment; lines are [price, quantity, amount].
#   link   how the two know each other: 'intent', as before 2025, or 'table'
sub invoice
{
	my ($self, %with) = @_;
	my $id = $self->{invoice} = new_id('in');
	my $customer = $self->{customer};
	my $new = $with{link} eq 'table';
	my @link = event('invoice_payments', id => new_id('inpay'), object => 'invoice_payment',
		invoice => $id, amount_paid => $self->{amount}, status => 'paid',
		payment => { type => 'payment_intent', payment_intent => $self->{id} });

	$self->{intent}{invoice} = $id unless $new;
	return (event('invoices', id => $id, object => 'invoice', status => 'paid', number => $with{number},
			billing_reason => $with{reason}, total => $self->{amount}, currency => $self->{currency},
			customer => $customer->{id}, customer_email => $customer->{email},
			customer_name => $customer->{name}, lines => { object => 'list', data => [ map { {
						id => new_id('il'), quantity => $_->[1], amount => $_->[2],
						($new ? (pricing => { price_details => { price => $_->[0] } }) : (price => { id => $_->[0] })) } }
					  @{ $with{lines} } ] }), $new ? @link : ());
}

# The page of Stripe's on which the buyer paid; lines as above.
sub session
{
	my ($self, %with) = @_;
	my $id = new_id('cs');

	return (event('checkout_sessions', id => $id, object => 'checkout.session', mode => 'payment',
			created => $self->{time} - 60, payment_intent => $self->{id}, status => 'complete',
			payment_status => 'paid', customer_details => $with{details}),
		map { event('checkout_session_line_items', id => new_id('li'), object => 'item',
				checkout_session => $id, price => $_->[0], quantity => $_->[1], amount_total => $_->[2]) }
		  @{ $with{lines} });
}

1;
