# examples/odoo/recipe.sql against what Odoo writes: quotations that become
# orders, payments that confirm them, customers that are edited later.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('odoo');
my $time = time - 3600;

my %claire = (name => 'Claire  Van den Broeck', email => '"Claire" <Claire@Example.BE>',
	email_normalized => 'claire@example.be', phone => '02 555 12 12', city => 'Saint-Gilles',
	zip => '1060', country_id => 1);
my %of_claire = (em => 'claire@example.be', ph => '3225551212', fn => 'claire', ln => 'vandenbroeck',
	ct => 'saintgilles', zp => '1060', country => 'be', currency => 'EUR', value => '350',
	contents => [ [ 'DESK', 2, '121' ], [ '2', 1, '98' ] ]);

my @LINES = (
	[ undef, 0, 0, { display_type => 'line_section' } ],
	[ 1, 2, '242.00' ], [ 2, 1, '98.00' ],
	[ 3, 1, '10.00', { is_delivery => 't' } ],
	[ 2, 1, 0, { is_downpayment => 't' } ]);

sub quotation
{
	my (%with) = @_;

	return Odoo->quotation(date => ++$time, partner => {%claire}, lines => [@LINES], total => 350,
		%with);
}

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_claire, order_id => $order->{name},
		external_id => $order->{partner_id}, time => $order->{date}, %expected);
	return;
}

# --- no purchases ------------------------------------------------------------

my $cart = quotation();
my $failed = quotation();
my $pending = quotation();
my $dropped = quotation();
$shop->run($cart->shop);
$shop->run($failed->shop, $failed->pay(state => 'error'));
$shop->run($pending->shop, $pending->pay(provider => 3, state => 'pending'), $pending->save(state => 'sent'));
my $short = quotation();
$shop->run($dropped->shop, $dropped->cancel);
$shop->run($short->shop, $short->pay(amount => 100), $short->cancel);
$shop->settle;
is($shop->captured($_->{id}), '', 'not captured') foreach $cart, $failed, $pending, $dropped, $short;

# --- confirmed, and not to be reported ---------------------------------------

my $salesman = quotation(columns => {});
my $demo = quotation();
my $company = quotation(partner => { %claire, is_company => 't' });
my $visitor = quotation(partner => undef);
$shop->run($salesman->shop, $salesman->confirm, $demo->buy(provider => 2), $company->buy, $visitor->buy);
$shop->ignores($salesman->{id}, 'a salesman\'s order', 'not a web order');
$shop->ignores($demo->{id}, 'a provider in test mode', 'test payment');
$shop->ignores($company->{id}, 'a company', 'B2B');
$shop->ignores($visitor->{id}, 'nobody in particular', 'public visitor');

# --- purchases, read at once -------------------------------------------------

my $paid = quotation();
$shop->run($paid->buy);
reports($paid, 'paid by card');

$shop->run($failed->pay, $failed->confirm);
reports($failed, 'paid at the second try');

$shop->run($pending->confirm);
reports($pending, 'a wire transfer, confirmed by staff');

my $authorized = quotation();
$shop->run($authorized->buy(state => 'authorized'));
reports($authorized, 'authorised');
$shop->run($authorized->capture(100, 250));

my $locked = quotation();
$shop->run($locked->shop, $locked->pay, $locked->confirm(1));
reports($locked, 'locked at once');

my $checked = quotation();
$shop->run($checked->shop, $checked->validate, $checked->pay, $checked->confirm);
reports($checked, 'a card that is checked and kept');

my $deposit = quotation();
$shop->run($deposit->buy(amount => 35));
reports($deposit, 'confirmed by a deposit');

my $unpaid = quotation(partner => { %claire, email => '"B, C" <bc@example.be>; x@example.be',
	email_normalized => undef });
$shop->run($unpaid->shop, $unpaid->confirm);
reports($unpaid, 'without payment, e-mail as written', em => 'bc@example.be');

my $canada = quotation(partner => { name => 'Zoé', email => 'zoe@example.ca',
	email_normalized => 'zoe@example.ca', phone => '514-555-0199', city => 'Montréal', zip => 'H2Y 1C6',
	state_id => 1, country_id => 2 }, ship => { %claire, phone => '+32 2 555 12 12' });
$shop->run($canada->buy);
reports($canada, 'a present, one name', em => 'zoe@example.ca', ph => '15145550199',
	fn => 'zoé', ln => undef, ct => 'montréal', st => 'qc', zp => 'h2y1c6', country => 'ca');

my $yen = quotation(currency => 2, total => 12345, lines => [ [ 4, '0.75', 2000 ], [ 1, '2.5', 10345 ] ]);
$shop->run($yen->buy);
reports($yen, 'yen, by weight', value => '12345', currency => 'JPY',
	contents => [ [ 'COFFEE', 1, '2000' ], [ 'DESK', 3, '3448' ] ]);

# --- whose data ---------------------------------------------------------------

# the delivery address is taken for the bill, too: Odoo 18 offers it
my $gift = quotation(ship => { name => 'Bob Peeters', email => 'bob@example.be',
		email_normalized => 'bob@example.be', phone => '02 555 99 99', city => 'Gent', zip => '9000',
		country_id => 1 }, billed_to_ship => 1);
$shop->run($gift->buy);
reports($gift, 'a present that is billed to the recipient');

my $second = quotation(ship => { %claire, name => 'claire van den broeck ', phone => '09 555 12 12',
		city => 'Gent' });
$shop->run($second->buy);
reports($second, 'a second address of her own', ph => [ '3225551212', '3295551212' ]);

my $free = quotation(total => 0, lines => [ [ 1, 1, 0 ] ]);
$shop->run($free->shop, $free->confirm);
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

# --- afterwards, and read late -----------------------------------------------

$shop->run($paid->cancel, $failed->refund(350), $locked->cut(1, 121, 229));
$shop->settle;

my $gone = quotation();
my $never = quotation();
my $refunded = quotation();
my $cut = quotation();
my $renamed = quotation();
my $captured = quotation();
$shop->late($gone->buy, $gone->cancel, $never->shop, $never->confirm, $never->cancel,
	$refunded->buy, $refunded->refund(350), $cut->buy, $cut->cut(1, 121, 229),
	$captured->buy(state => 'authorized'), $captured->capture(100, 250),
	$renamed->buy, $renamed->rename_partner(name => 'Somebody Else', email_normalized => 'x@example.com',
		city => 'Paris', zip => '75001'));
$shop->ignores($gone->{id}, 'cancelled', 'cancelled before it was sent');
$shop->ignores($never->{id}, 'cancelled and never paid', 'not returned by the query');
reports($refunded, 'refunded');
reports($cut, 'cut down after it was paid', contents => [ [ 'DESK', 1, '121' ], [ '2', 1, '98' ] ]);
reports($captured, 'captured in two parts');
reports($renamed, 'the customer was edited since');

$shop->nothing_else;
$shop->runs_again(sub { my $order = quotation(); return ($order, $order->buy) });
done_testing();
