# examples/spree/recipe.sql against what Spree 5 writes: a cart that becomes an
# order, payments processed in the transition, naive timestamps in UTC.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('spree');
my $time = time - 3600;

my %home = (firstname => 'Kim', lastname => 'Lee-Smith', city => 'San José', zipcode => '95110-1234',
	phone => '(408) 555-0100', state_id => 1, country_id => 1);
my %london = (firstname => 'Pat', lastname => 'Lee', city => 'London', zipcode => 'sw1a 1aa',
	phone => '020 7946 0958', state_name => 'Greater London', country_id => 2);
my %of_kim = (em => 'kim@example.com', ph => '14085550100', fn => 'kim', ln => 'leesmith',
	ct => 'sanjosé', st => 'ca', zp => '95110', country => 'us', external_id => '77',
	client_ip_address => '198.51.100.7', currency => 'USD', value => '60',
	contents => [ [ 'CAP-RED', 2, '19.99' ], [ '2', 1, '20.02' ] ]);

sub cart
{
	my (%with) = @_;

	return Spree->cart(completed_at => ++$time, address => {%home}, billing => {%home}, columns => { user_id => 77 },
		total => 60, items => [ [ 1, '19.99', 2 ], [ 2, '20.02', 1 ] ], %with);
}

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_kim, order_id => $order->{number},
		time => $order->{completed_at}, %expected);
	return;
}

# --- no purchases ------------------------------------------------------------

my $abandoned = cart();
my $failed = cart();
my $authorized = cart();
my $unpaid = cart();
my $void = cart();
$shop->run($abandoned->shop);
$shop->run($failed->shop, $failed->fail);
$shop->run($authorized->buy('pending'));
$shop->run($unpaid->shop, $unpaid->complete);
$shop->run($void->buy('pending'), $void->cancel);
$shop->settle;
is($shop->captured($_->{id}), '', 'not captured: ' . ($_->{payment_state} // $_->{state}))
  foreach $abandoned, $failed, $authorized, $unpaid, $void;

# --- purchases, read at once -------------------------------------------------

my $paid = cart(columns => { user_id => 77,
	private_metadata => '{"fbp": "fb.1.1700000000000.42"}',
	public_metadata => '{"fbc": "fb.1.1700000000000.Xy_-"}' });
$shop->run($paid->buy);
reports($paid, 'paid at checkout', fbp => 'fb.1.1700000000000.42', fbc => 'fb.1.1700000000000.Xy_-');

$shop->run($failed->add_payment(60, 'completed'), $failed->complete);
reports($failed, 'paid at the second try');

$shop->run($authorized->capture);
reports($authorized, 'authorised, captured later');

$shop->run($unpaid->add_payment(25, 'completed'), $unpaid->capture);
$shop->settle;
is($shop->captured($unpaid->{id}), '', 'not captured: part paid');
$shop->run($unpaid->add_payment(35, 'completed'), $unpaid->capture);
reports($unpaid, 'placed by staff, paid later in two parts');

my $credit = cart();
$shop->run($credit->shop, $credit->add_payment(10, 'completed'),
	$credit->add_payment(50, 'completed'), $credit->complete(split => 1));
reports($credit, 'store credit and a card');

my $abroad = cart(billing => {%london}, address => { %home, firstname => ' PAT', lastname => 'lee', phone => '+1 408 555 0100' },
	currency => 'GBP', columns => {});
$shop->run($abroad->buy);
reports($abroad, 'billed elsewhere', currency => 'GBP', ph => [ '442079460958', '14085550100' ],
	fn => 'pat', ln => 'lee', ct => 'london', st => 'greaterlondon', zp => 'sw1a1aa', country => 'gb',
	external_id => undef);

my $yen = cart(currency => 'JPY', total => 5000, items => [ [ 1, '2500', 2 ] ]);
$shop->run($yen->buy);
reports($yen, 'yen', value => '5000', currency => 'JPY', contents => [ [ 'CAP-RED', 2, '2500' ] ]);

my $free = cart(total => 0, items => [ [ 1, 0, 1 ] ]);
$shop->run($free->shop, $free->complete);
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

my $too_much = cart();
$shop->run($too_much->shop, $too_much->add_payment(61, 'completed'), $too_much->complete);
reports($too_much, 'paid too much', value => '61');

# --- whose data ---------------------------------------------------------------

my @NOBODY = map { $_ => undef } qw(ph fn ln ct st zp country);
my $gift = cart(address => { %london, phone => '+44 20 7946 0958' });
$shop->run($gift->buy);
reports($gift, 'a present');

my $bare = cart(billing => undef);
$shop->run($bare->buy);
reports($bare, 'no billing address: nobody says whose the other is', @NOBODY);

my $guest = cart(billing => undef, columns => {}, address => {%london});
$shop->run($guest->buy);
reports($guest, 'a guest without billing address', @NOBODY, external_id => undef);

my $phoned = cart(columns => { user_id => 77, created_by_id => 1 });
$shop->run($phoned->buy);
reports($phoned, 'typed in by staff', action_source => 'other', client_ip_address => undef);

my $himself = cart(columns => { user_id => 77, created_by_id => 77 });
$shop->run($himself->buy);
reports($himself, 'begun by the customer');

# --- afterwards: nothing is reported twice -----------------------------------

$shop->run($paid->cancel);
$shop->run($failed->refund(60), $authorized->refund(10));
$shop->settle;

# --- read late ---------------------------------------------------------------

my $gone = cart();
my $refunded = cart();
my $part = cart();
my $reduced = cart();
my $half = cart();
$shop->late($gone->buy, $gone->cancel, $refunded->buy, $refunded->refund(60),
	$part->buy, $part->refund(15), $reduced->buy, $reduced->reduce('39.98'),
	$half->shop, $half->complete, $half->add_payment(30, 'completed'), $half->capture, $half->cancel);
$shop->ignores($gone->{id}, 'cancelled', 'cancelled before it was sent');
reports($refunded, 'refunded');
reports($part, 'part refunded');
reports($reduced, 'an item taken out since', contents => [ [ 'CAP-RED', 2, '19.99' ] ]);
is($shop->captured($half->{id}), '', 'not captured: part paid and cancelled');

$shop->nothing_else;
$shop->runs_again(sub { my $order = cart(); return ($order, $order->buy) });

$shop->attach('only_address=buyer');
my $one = cart(billing => undef);
$shop->run($one->buy);
reports($one, 'the only address is the buyer\'s');

# P2: Spree 6 renames what the rule watches
$shop->sql('ALTER TABLE spree_orders RENAME payment_state TO payment_status', 'shop_owner');
my $sixth = cart();
$shop->run($sixth->shop);
is($shop->sql("SELECT state FROM capi.source_status"), 'broken', 'a renamed column breaks the source, not the shop');

done_testing();
