# examples/stripe/recipe.sql against what the Stripe Sync Engine writes: objects
# that come in any order and twice, amounts in Stripe's smallest units, renewals.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('stripe', writer => 'shop_owner', variables => ['hold=0']);
my $time = time - 3600;

my %billing = (name => 'Kim Lee-Smith', email => 'kim@example.com', phone => '(408) 555-0100',
	address => { city => 'San José', state => 'CA', postal_code => '95110-1234', country => 'US', line1 => '1 Main St' });
my %kim = (id => 'cus_77', name => 'Kim Lee-Smith', email => 'kim@example.com', phone => undef, address => undef);
my %of_kim = (em => 'kim@example.com', ph => '14085550100', fn => 'kim', ln => 'leesmith',
	ct => 'sanjosé', st => 'ca', zp => '95110', country => 'us', external_id => 'cus_77',
	currency => 'USD', value => '60');
my @NOBODY = map { $_ => undef } qw(ph fn ln ct st zp country);

sub payment
{
	my (%with) = @_;

	return Stripe->payment(time => ++$time, amount => 6000, customer => {%kim}, billing => {%billing}, %with);
}

# The objects of a payment come apart: read when all are there.
sub together
{
	$shop->settle;
	$shop->sql("SELECT capi.pause('orders')");
	$shop->run(@_);
	$shop->sql("SELECT capi.resume('orders')");
	return;
}

sub reports
{
	my ($payment, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($payment->{id}, $name, %of_kim, order_id => $payment->{id}, time => $payment->{time}, %expected);
	return;
}

# --- no purchases ------------------------------------------------------------

my $failed = payment();
my $authorized = payment();
my $cancelled = payment();
my $waiting = payment();
my $begun = payment();
$shop->run($begun->begin, $failed->begin, $failed->fail, $authorized->begin, $authorized->authorize,
	$cancelled->begin, $cancelled->authorize, $cancelled->cancel, $waiting->begin, $waiting->wait);
$shop->settle;
is($shop->captured($_->{id}), '', "not captured: $_->{status}")
  foreach $begun, $failed, $authorized, $cancelled, $waiting;

# --- purchases ---------------------------------------------------------------

my $paid = payment(intent => { metadata => { order_id => 'W-1001', fbp => 'fb.1.1700000000000.42',
			client_ip_address => '198.51.100.7', client_user_agent => 'Mozilla/5.0 (X11)',
			event_source_url => 'https://shop.example.com/pay' } });
together($paid->buy);
reports($paid, 'a card', order_id => 'W-1001', fbp => 'fb.1.1700000000000.42', client_ip_address => '198.51.100.7',
	client_user_agent => 'Mozilla/5.0 (X11)', event_source_url => 'https://shop.example.com/pay');

together($failed->succeed);
reports($failed, 'refused, then paid');
together($authorized->succeed(4500));
reports($authorized, 'authorised, captured in part', value => '45');
together($waiting->succeed);
reports($waiting, 'a debit that took its time');
$shop->run($paid->intent, $paid->charge(paid => JSON::PP::true, captured => JSON::PP::true, status => 'succeeded'), $paid->intent);
reports($paid, 'told of again', order_id => 'W-1001', fbp => 'fb.1.1700000000000.42', client_ip_address => '198.51.100.7',
	client_user_agent => 'Mozilla/5.0 (X11)', event_source_url => 'https://shop.example.com/pay');

my @money = ([ jpy => 5000, '5000' ], [ kwd => 12_340, '12.34' ], [ isk => 150_000, '1500' ],
	[ ugx => 500_000, '5000' ], [ mga => 5000, '5000' ], [ huf => 123_400, '1234' ], [ clp => 9990, '9990' ]);
foreach my $case (@money)
{
	my ($currency, $amount, $value) = @$case;
	my $payment = payment(currency => $currency, amount => $amount);

	together($payment->buy);
	reports($payment, $currency, currency => uc $currency, value => $value);
}

my $test = payment(livemode => JSON::PP::false);
together($test->buy);
$shop->ignores($test->{id}, 'in test mode', 'test mode');

my $till = payment(way => 'card_present');
together($till->buy);
reports($till, 'at a terminal', action_source => 'physical_store');

my $page = payment(customer => undef, billing => {});
together($page->buy, $page->session(details => {%billing}, lines => [ [ 'price_cap', 2, 3998 ], [ 'price_mug', 1, 2002 ] ]));
reports($page, 'on Stripe\'s page', external_id => undef,
	contents => [ [ 'price_cap', 2, '19.99' ], [ 'price_mug', 1, '20.02' ] ]);

# --- subscriptions -------------------------------------------------------------

my %lines = (lines => [ [ 'price_plan', 1, 6000 ] ]);
my @plan = (contents => [ [ 'price_plan', 1, '60' ] ]);
foreach my $link (qw(intent table))
{
	my $first = payment();
	my $renewal = payment();
	my @statements = $first->invoice(link => $link, number => "A-$link-1", reason => 'subscription_create', %lines);

	# the invoice may be told of before its payment, and after it
	together(@statements, $first->buy);
	reports($first, "a subscription begins ($link)", order_id => "A-$link-1", @plan);
	together($renewal->begin, $renewal->invoice(link => $link, number => "A-$link-2", reason => 'subscription_cycle', %lines), $renewal->succeed);
	$shop->ignores($renewal->{id}, "and goes on ($link)", 'renewal');
}

# --- whose data ------------------------------------------------------------------

my $gift = payment(shipping => { name => 'Pat Lee', phone => '+44 20 7946 0958', address => { city => 'London', country => 'GB' } });
my $card = payment(billing => { %billing, email => undef, name => 'Pat Lee' });
my $same = payment(billing => { %billing, email => undef, name => 'KIM Lee-Smith' });
my $guest = payment(customer => undef, billing => { %billing, email => undef }, intent => { receipt_email => 'kim@example.com' });
my $other = payment(billing => { %billing, email => 'pat@example.com', name => 'Pat Lee' });
together($gift->buy, $card->buy, $same->buy, $guest->buy, $other->buy);
my $nameless = payment(customer => undef, billing => {});
my $phone = payment(customer => undef, billing => { %billing, email => undef });
together($nameless->buy, $phone->buy);
reports($phone, 'no e-mail at all', em => undef, external_id => undef);
is($shop->captured($nameless->{id}), 'rejected', 'a payment of nobody is known, too');
$shop->{ignored}{ $nameless->{id} } = 'no_customer_data';
reports($gift, 'a present');
reports($card, 'somebody else\'s card under the customer\'s e-mail', @NOBODY, fn => 'kim', ln => 'leesmith');
reports($same, 'the customer\'s own card');
reports($guest, 'an e-mail for the receipt only', @NOBODY, external_id => undef);
reports($other, 'somebody else\'s card and e-mail', @NOBODY, fn => 'kim', ln => 'leesmith');

# --- afterwards, and read late -----------------------------------------------

$shop->run($paid->refund(6000), $failed->refund(1000));
my $refunded = payment();
my $part = payment();
together($refunded->buy, $refunded->refund(6000), $part->buy, $part->refund(1000));
reports($refunded, 'refunded');
reports($part, 'part refunded');

$shop->nothing_else;
$shop->runs_again('hold=0', sub { my $payment = payment(); return ($payment, $payment->buy) });

my (undef, $err) = $shop->try_attach('hold=2');
like($err, qr/hold must have its unit/, 'two, which would be seconds, is refused');
$shop->attach('hold=0', 'renewals=report');
my $renewal = payment();
together($renewal->begin, $renewal->invoice(link => 'table', number => 'A-3', reason => 'subscription_cycle', %lines), $renewal->succeed);
reports($renewal, 'a renewal that is to be reported', order_id => 'A-3', action_source => 'system_generated', @plan);

# the engine's migrations drop the generated columns and make them anew
$shop->sql(q{BEGIN; ALTER TABLE stripe.payment_intents DROP COLUMN status;
ALTER TABLE stripe.payment_intents ADD COLUMN status text GENERATED ALWAYS AS (_raw_data ->> 'status') STORED; COMMIT}, 'shop_owner');
my $after = payment();
together($after->buy);
reports($after, 'after a migration of the engine');

done_testing();
