# examples/vendure/recipe.sql against what Vendure 3 writes: carts, payments in
# all their ways, and what becomes of an order afterwards, read at once and late.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $HOURS = 9;		# the Node process runs in Asia/Tokyo
my $shop = CapiTest::Shop->create('vendure', variables => ['zone=Asia/Tokyo']);
my $time = time - 1800;

my %anna = (id => 1, firstName => 'Anna Maria', lastName => 'Gruber',
	emailAddress => 'anna@example.com', phoneNumber => '0316 123456');
my %graz = (fullName => 'Anna Maria Gruber', streetLine1 => 'Hauptplatz 1', city => 'Graz',
	province => 'Steiermark', postalCode => '8010', country => 'Österreich',
	countryCode => 'AT', phoneNumber => '+43 (316) 999');
my %of_anna = (em => 'anna@example.com', ph => [ '43316123456', '43316999' ],
	fn => 'annamaria', ln => 'gruber', ct => 'graz', st => 'steiermark', zp => '8010',
	country => 'at', external_id => '1', currency => 'EUR');

sub cart
{
	my (%with) = @_;

	return Vendure->cart(hours => $HOURS, placed_at => ++$time, customer => {%anna},
		shipping => {%graz}, items => [ [ 1, 1000, 2 ], [ 2, 2000, 1 ] ], %with);
}

# What every such cart is reported as.
my @TWO_LINES = (value => '53', contents => [ [ 'MUG', 2, '12' ], [ 'TEE-M', 1, '24' ] ]);

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_anna, order_id => $order->{code},
		time => $order->{placed_at}, %expected);
	return;
}

# --- no purchases ------------------------------------------------------------

my $abandoned = cart();
my $authorized = cart();
my $declined = cart();
my $waiting = cart();
my $void = cart();
my $removed = cart();
my $half = cart();
my $voided = cart();
$shop->run($voided->buy(state => 'Authorized'), $voided->void_payment);
$shop->run($abandoned->add_items);
$shop->run($authorized->buy(state => 'Authorized'));
$shop->run($waiting->buy(state => 'Authorized'));
$shop->run($declined->buy(state => 'Declined'));
$shop->run($void->buy(state => 'Authorized'), $void->cancel('Cancelled'));
$shop->run($removed->add_items, $removed->remove);
$shop->run($half->buy(amount => 2000));
$shop->settle;
is($shop->captured($_->{id}), '', 'not captured: ' . ($_->{state} // 'cart'))
  foreach $abandoned, $authorized, $waiting, $declined, $void, $removed, $half, $voided;

# --- purchases, read at once -------------------------------------------------

my $paid = cart();
$shop->run($paid->buy);
reports($paid, 'paid by card', @TWO_LINES);

$shop->run($authorized->settle);
reports($authorized, 'authorised, settled later', @TWO_LINES);

my $otherwise = cart();
$shop->run($otherwise->buy(state => 'Authorized'), $otherwise->settle_otherwise);
reports($otherwise, 'authorised, paid another way', @TWO_LINES);

$shop->run($half->pay);
reports($half, 'two payments', @TWO_LINES);

my $retried = cart();
$shop->run($retried->buy(state => 'Declined'), $retried->pay(state => 'Declined'), $retried->pay);
reports($retried, 'declined twice, then paid', @TWO_LINES);

my $broken = cart();
$shop->run($broken->checkout, $broken->pay(end => 'ROLLBACK'));
$shop->settle;
is($shop->captured($broken->{id}), '', 'not captured: rolled back');
$shop->run($broken->pay);
reports($broken, 'rolled back, then paid', @TWO_LINES);

my $draft = cart();
$shop->run($draft->draft, $draft->pay(known => 1));
reports($draft, 'typed in by staff', action_source => 'other', @TWO_LINES);

my $free = cart(items => [ [ 1, 0, 1 ] ], delivery => 0);
$shop->run($free->take_free);
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

# prices with tax, whole yen in hundredths, a variant without SKU, billing
# address of its own, and a name that cannot be cut where the customer's is
my $yen = cart(currency => 'JPY', gross => 1, rate => 10, delivery => 50000,
	items => [ [ 4, 1234500, 3 ], [ 3, 9950, 1 ] ],
	customer => { id => 2, firstName => 'Web', lastName => 'Shop', emailAddress => 'kenji@example.jp',
		phoneNumber => undef },
	billing => { fullName => 'Kenji van der Berg', city => '東京', province => '',
		postalCode => '100-0001', countryCode => 'JP', phoneNumber => '03-1234-5678' });
$shop->run($yen->buy);
reports($yen, 'yen', value => '37635', currency => 'JPY', em => 'kenji@example.jp',
	ph => '81312345678', fn => 'kenji', ln => 'vanderberg', ct => '東京', st => undef,
	zp => '1000001', country => 'jp', external_id => '2',
	contents => [ [ '4', 3, '12345' ], [ 'LAMP', 1, '100' ] ]);

# a number counts when both addresses name the same person
my $abroad = cart(billing => { fullName => 'A. M. Gruber', city => 'München', province => 'Bayern',
	postalCode => '80331', countryCode => 'DE', phoneNumber => '089 123456' }, shipping => { %graz, phoneNumber => '0316 999' });
$shop->run($abroad->buy);
reports($abroad, 'the other address is in another country', @TWO_LINES, country => 'de', fn => 'am',
	ct => 'münchen', st => 'bayern', zp => '80331',
	ph => [ '49316123456', '4989123456' ]);

# --- whose data ---------------------------------------------------------------

my %ben = (fullName => 'Ben Huber', city => 'Wels', province => 'OÖ', postalCode => '4600',
	countryCode => 'AT', phoneNumber => '+43 7242 1234');

my $gift = cart(shipping => {%ben}, billing => {%graz});
$shop->run($gift->buy);
reports($gift, 'a present', @TWO_LINES);

my @NOWHERE = map { $_ => undef } qw(ct st zp country);
my $bare_gift = cart(shipping => {%ben});
$shop->run($bare_gift->buy);
reports($bare_gift, 'a present, no billing address', @TWO_LINES, @NOWHERE, ph => undef);

my $both = cart(shipping => { %graz, fullName => ' anna  maria GRUBER', phoneNumber => '+43 1 555' },
	billing => {%graz});
$shop->run($both->buy);
reports($both, 'two addresses of one person', @TWO_LINES,
	ph => [ '43316123456', '43316999', '431555' ]);

# an address without name, and rates of tax that end in the middle of a cent
my $odd = cart(rate => 7.7, delivery => 0, items => [ [ 1, 999, 1 ] ],
	shipping => { city => 'Graz', countryCode => 'AT' });
$shop->run($odd->buy);
reports($odd, 'odd rate of tax', value => '10.76', ph => '43316123456', st => undef, zp => undef,
	contents => [ [ 'MUG', 1, '10.76' ] ]);

my $market = cart(split => 1);
$shop->run($market->buy);
reports($market, 'two sellers', @TWO_LINES);
$shop->ignores($_, 'one seller\'s part', 'seller part of a marketplace order')
  foreach @{ $market->{parts} };

# --- afterwards: nothing is reported twice -----------------------------------

$shop->run($paid->cancel);
$shop->run($retried->refund(5300));
$shop->run($half->cancel_line(0));
$shop->run($broken->modify(3, 5000, 1));
$shop->run($draft->ship);
$shop->settle;
reports($paid, 'cancelled after it was sent', @TWO_LINES);
reports($broken, 'modified after it was sent', @TWO_LINES);

# --- read late: what was bought, not what is left of it -----------------------

my $gone = cart();
my $gone_void = cart();
my $part = cart();
my $refunded = cart();
my $modified = cart();
my $shipped = cart();
my $settled = cart();
$shop->late($gone->buy, $gone->cancel, $gone_void->buy(state => 'Authorized'),
	$gone_void->settle, $gone_void->cancel,
	$part->buy, $part->cancel_line(1), $refunded->buy, $refunded->refund(5300),
	$modified->buy, $modified->modify(3, 5000, 2, 700), $shipped->buy, $shipped->ship,
	$settled->buy(state => 'Authorized'), $settled->modify(1, 100, 1), $settled->settle);
$shop->ignores($_->{id}, 'cancelled', 'cancelled before it was sent') foreach $gone, $gone_void;
reports($part, 'part cancelled', @TWO_LINES);
reports($refunded, 'refunded', @TWO_LINES);
reports($modified, 'modified and paid', @TWO_LINES);
reports($shipped, 'shipped', @TWO_LINES);
reports($settled, 'modified while authorised, settled', @TWO_LINES);

# a guest of the same household buys before the first order is read
my $mother = cart();
my $son = cart(customer => { %anna, firstName => 'Ben', phoneNumber => undef },
	shipping => { %graz, fullName => 'Ben Gruber' });
$shop->late($mother->buy, $son->buy);
reports($mother, 'the customer was renamed since: nobody says who bought', @TWO_LINES, @NOWHERE,
	map { $_ => undef } qw(ph fn ln));
my $billed = cart(billing => {%graz});
my $daughter = cart(customer => { %anna, firstName => 'Eva', phoneNumber => undef });
$shop->late($billed->buy, $daughter->buy);
reports($billed, 'renamed since, but the bill has the name', @TWO_LINES, ph => ['43316999']);
reports($daughter, 'she sends to the one before her', @TWO_LINES, @NOWHERE, fn => 'eva', ph => undef);
reports($son, 'and by whom', @TWO_LINES, ph => ['43316999'], fn => 'ben');

$shop->nothing_else;
$shop->runs_again('zone=Asia/Tokyo', sub { my $order = cart(); return ($order, $order->buy) });

# the shop's checkout has one address only
$shop->attach('zone=Asia/Tokyo', 'only_address=buyer');
my $one = cart(shipping => { %ben, fullName => 'Anna M. Gruber' });
$shop->run($one->buy);
reports($one, 'the only address is the buyer\'s', @TWO_LINES, fn => 'annam', ct => 'wels', st => 'oö', zp => '4600',
	ph => [ '43316123456', '4372421234' ]);

my ($out, $err) = $shop->try_attach('zone=Europe/Wien');
like($err, qr/unknown time_zone "Europe\/Wien"/, 'an unknown zone is refused');
foreach my $divisor ('0', '-100', '', '1,000')
{
	($out, $err) = $shop->try_attach("divisor=$divisor");
	like($err, qr/divisor must be 1, 10, 100/, "and '$divisor' as divisor");
}

# without variables: a clock in UTC, money in hundredths; and in thousandths
foreach my $case ([ [], 0, '53' ], [ ['divisor=1000'], 0, '5.3' ])
{
	my ($variables, $hours, $value) = @$case;
	my $order = cart(hours => $hours, items => [ [ 1, 1000, 2 ], [ 2, 2000, 1 ] ]);

	$shop->sql("SELECT capi.detach('orders')");
	$shop->attach(@$variables);
	$shop->run($order->buy);
	reports($order, "attached with '@$variables'", value => $value,
		contents => [ [ 'MUG', 2, $value * 12 / 53 ], [ 'TEE-M', 1, $value * 24 / 53 ] ]);
}

done_testing();
