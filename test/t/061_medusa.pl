# examples/medusa/recipe.sql against what Medusa v2 writes: an order that is
# there before its payment and gone when that fails, captures in parts, amounts
# that are not rounded, totals that follow refunds.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('medusa');
my $time = time - 7200;

my %linz = (first_name => 'Élodie', last_name => "O'Brien", city => 'Linz/Donau',
	country_code => 'at', province => 'at-4', postal_code => '4020', phone => '0732 12 34 56');
my %bill = (first_name => 'Jane', last_name => 'Roe', city => 'New York', country_code => 'us',
	province => 'US-NY', postal_code => '10001-1234', phone => '(212) 555-0100');
my %account = (first_name => 'Élodie', last_name => "O'Brien", has_account => 't');
my %of_elodie = (em => 'elodie@example.com', ph => '43732123456', fn => 'élodie', ln => 'obrien',
	ct => 'linzdonau', zp => '4020', country => 'at', currency => 'EUR');

my $n = 0;

sub cart
{
	my (%with) = @_;

	return Medusa->cart(time => $time += 60, email => 'elodie@example.com',
		customer => 'cus_' . ++$n, address => {%linz}, billing => {%linz}, total => '118.776',
		items => [ [ 'SHIRT', '24.99', 3 ], [ undef, '19.01', 1 ] ], %with);
}

# What every such cart is reported as.
sub reports
{
	my ($order, $name, %expected) = @_;
	my $lines = $order->{bought} // $order->{lines};
	my $display = $shop->sql(qq{SELECT display_id FROM "order" WHERE id = '$order->{id}'});

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_elodie, order_id => $display,
		external_id => $order->{customer}, time => $order->{paid_at}, value => '118.78',
		contents => [ map { [ $_->{sku} // "variant_$_->{id}", $_->{quantity}, $_->{price} ] } @$lines ],
		%expected);
	return;
}

sub remember { my ($order) = @_; $order->{bought} = [ @{ $order->{lines} } ]; return $order }

# --- no purchases ------------------------------------------------------------

my $failed = cart();
my $authorized = cart();
my $cancelled = cart();
my $half = cart();
my $draft = cart(total => '533.148', untaxed => '444.29', draft => 1, status => 'draft');
$shop->run($failed->start, $failed->place, $failed->refuse);
$shop->run($authorized->start, $authorized->place, $authorized->authorize);
$shop->run($cancelled->start, $cancelled->place, $cancelled->authorize, $cancelled->cancel);
$shop->run($draft->draft);
$shop->settle;
is($shop->captured($_->{id}), '', 'not captured')
  foreach $failed, $authorized, $cancelled, $draft;

$shop->run($half->start, $half->place, $half->authorize, $half->capture(amount => '60', part => 1));
$shop->ignores($half->{id}, 'captured in part', 'part paid');

# --- purchases, read at once -------------------------------------------------

my %browser = (fbp => 'fb.1.1700000000000.123456', fbc => 'fb.1.1700000000000.AbC-_d',
	client_ip_address => '203.0.113.9', client_user_agent => 'Mozilla/5.0 (X11)');
my $paid = cart(metadata => {%browser});
$shop->run($paid->buy);
reports($paid, 'captured by staff', %browser);

my $short = cart(metadata => { ip => '203.0.113.9', user_agent => 'Mozilla/5.0 (X11)' });
$shop->run($short->buy);
reports($short, 'other names in the metadata', client_ip_address => '203.0.113.9',
	client_user_agent => 'Mozilla/5.0 (X11)');

# --- whose data: the recipient's never beside the buyer's e-mail ---------------

my %of_jane = (ph => '12125550100', fn => 'jane', ln => 'roe', ct => 'newyork', st => 'ny',
	zp => '10001', country => 'us');
my %of_nobody = map { $_ => undef } qw(ph fn ln ct st zp country);

my $auto = cart(billing => {%bill}, address => { %linz, phone => '+43 732 123456' });
$shop->run($auto->buy_at_once);
reports($auto, 'captured at checkout, a present', %of_jane);

# a number that would be one in the other country, too
my $hers = cart(billing => {%bill}, address => { %linz, first_name => 'jane ', last_name => 'ROE',
		phone => '732 212 3456' });
$shop->run($hers->buy_at_once);
reports($hers, 'two addresses of one person', %of_jane);

my $abroad = cart(billing => {%bill}, address => { %linz, first_name => 'Jane', last_name => 'Roe',
		phone => ' +43 732 123456' });
$shop->run($abroad->buy_at_once);
reports($abroad, 'a number with its calling code', %of_jane, ph => [ '12125550100', '43732123456' ]);

my $guest = cart(billing => undef);
$shop->run($guest->buy);
reports($guest, 'a guest without billing address: nobody says that it is hers', %of_nobody);

my $member = cart(billing => undef, account => {%account});
$shop->run($member->buy);
reports($member, 'an account of the name in the only address');

my $gift = cart(billing => undef, account => {%account}, address => {%bill});
$shop->run($gift->buy);
reports($gift, 'an account that sends a present', %of_nobody, fn => 'élodie', ln => 'obrien');

my $other = cart(billing => undef, account => { %account, email => 'else@example.com' });
$shop->run($other->buy);
reports($other, 'an account of another e-mail', %of_nobody);

# --- more purchases ----------------------------------------------------------

$shop->run($failed->place, $failed->refuse, $failed->place, $failed->authorize, $failed->capture);
reports($failed, 'refused twice, then paid as another order');

$shop->run($half->capture(amount => '58.776'));
reports($half, 'the rest is captured: looked at again');
delete $shop->{ignored}{ $half->{id} };

my $coins = cart();
$shop->run($coins->start, $coins->place, $coins->authorize,
	$coins->capture(amount => '18.77', part => 1));
$shop->settle;
$shop->run($coins->capture(amount => '100', part => 1));
reports($coins, 'all but a part of a cent', value => '118.77');

$shop->run($draft->authorize, $draft->capture);
reports($draft, 'a former draft, whose totals lack the tax', action_source => 'other', value => '533.15');

my $yen = cart(currency => 'jpy', total => '46111.2', items => [ [ 'FAN', '41919.27', 1 ] ],
	account => {%account}, billing => { country_code => 'at' });
$shop->run($yen->buy);
reports($yen, 'yen, and an empty billing address', value => '46111', currency => 'JPY',
	contents => [ [ 'FAN', 1, '41919' ] ]);

my $dinar = cart(currency => 'kwd', total => '1.23456', items => [ [ 'X', '1.2', 1 ] ]);
$shop->run($dinar->buy);
reports($dinar, 'three decimals', value => '1.235', currency => 'KWD');

my $anew = cart();
my $price = $anew->{total};
$anew->{total} = '999';
$shop->run($anew->start, $anew->place);
$anew->{total} = $price;
$shop->run($anew->collect_anew, $anew->authorize, $anew->capture);
reports($anew, 'its payment collection was replaced');

my $anywhere = cart(billing => { last_name => 'Roe', province => 'Kent' });
$shop->run($anywhere->buy);
reports($anywhere, 'an address without country', ph => undef, fn => undef, ln => 'roe', ct => undef,
	st => 'kent', zp => undef, country => undef);

my $raised = cart(total => '38.84', items => [ [ 'SHIRT', '38.84', 1 ] ]);
$shop->run($raised->start, $raised->place, $raised->authorize,
	$raised->edit_before_capture('SOCKS', '8.37', '47.21'), $raised->authorize, $raised->capture);
reports($raised, 'edited upwards before it was captured', value => '47.21');

my $raised_half = cart(total => '38.84', items => [ [ 'SHIRT', '38.84', 1 ] ]);
$shop->run($raised_half->start, $raised_half->place, $raised_half->authorize,
	$raised_half->edit_before_capture('SOCKS', '8.37', '47.21'), $raised_half->authorize,
	$raised_half->capture(amount => '38.84', part => 1));
$shop->ignores($raised_half->{id}, 'as much as it cost before the edit', 'part paid');

my $free = cart(total => '0', items => [ [ 'SAMPLE', '0', 1 ] ]);
$shop->run($free->take_free);
$shop->settle;
is($shop->captured($free->{id}), '', 'not captured: nothing to pay');

$shop->run($authorized->ship, $authorized->capture);
reports($authorized, 'captured when it was shipped');

# --- afterwards: nothing is reported twice -----------------------------------

$shop->run($paid->cancel);
$shop->run($auto->refund('118.776'));
$shop->run(remember($failed)->add_line('SOCKS', '10', '12'),
	$failed->authorize(collection => $failed->{second}, amount => '12'),
	$failed->capture(collection => $failed->{second}, amount => '12'));
$shop->settle;

# --- read late: what was bought, not what is left of it -----------------------

my $gone = cart();
my $refunded = cart();
my $part = cart();
my $split = cart();
my $edited = cart();
my $reduced = cart();
my $shipped = cart();
my $late_draft = cart(total => '533.148', untaxed => '444.29', draft => 1, status => 'draft');
my $half_gone = cart();
my $half_back = cart();
my $half_draft = cart(total => '533.148', untaxed => '444.29', draft => 1, status => 'draft');
my $still_draft = cart(draft => 1, status => 'draft', stays => 1);
my $twice_half = cart();
my $deleted = cart();
$shop->late($gone->buy, $gone->cancel,
	$refunded->buy, $refunded->refund('118.776'), $part->buy_at_once, $part->refund('20'),
	$split->start, $split->place, $split->authorize, $split->capture(amount => '50', part => 1),
	$split->capture(amount => '68.776'), $split->refund('30'),
	$edited->buy, $shipped->buy, $shipped->ship,
	$late_draft->draft, $late_draft->authorize, $late_draft->capture, $late_draft->refund('33'),
	$reduced->start, $reduced->place, $reduced->authorize, $reduced->drop_line('18.776'),
	$reduced->capture(amount => '100'),
	$half_gone->start, $half_gone->place, $half_gone->authorize,
	$half_gone->capture(amount => '60', part => 1), $half_gone->cancel,
	$half_back->start, $half_back->place, $half_back->authorize,
	$half_back->capture(amount => '60', part => 1), $half_back->refund('60'),
	$half_draft->draft, $half_draft->authorize, $half_draft->capture(amount => '480', part => 1),
	$still_draft->draft, $still_draft->authorize, $still_draft->capture,
	$twice_half->start, $twice_half->place, $twice_half->authorize,
	$twice_half->capture(amount => '30', part => 1), $twice_half->capture(amount => '30', part => 1),
	$deleted->buy, $deleted->soft_delete);
$shop->ignores($half_draft->{id}, 'a former draft, captured in part', 'part paid');
$shop->ignores($still_draft->{id}, 'a draft that is paid before it is an order', 'draft');
$shop->ignores($twice_half->{id}, 'two captures that are not enough', 'part paid');
$shop->ignores($deleted->{id}, 'deleted', 'not returned by the query');
$shop->ignores($_->{id}, 'cancelled', 'cancelled before it was sent') foreach $gone, $half_gone;
$shop->ignores($half_back->{id}, 'a half captured and given back', 'part paid');
reports($refunded, 'refunded');
reports($part, 'part refunded');
reports($split, 'two captures and a refund');
reports($shipped, 'shipped');
reports($late_draft, 'a former draft, part refunded', action_source => 'other', value => '533.15');
reports($reduced, 'edited down before it was captured', value => '100');
reports($edited, 'captured');

# an edit that is paid before the order is read
my $more = cart();
my @buy = $more->buy;
my $paid_at = $more->{paid_at};
remember($more);
$shop->late(@buy, $more->add_line('SOCKS', '10', '12'),
	$more->authorize(collection => $more->{second}, amount => '12'),
	$more->capture(collection => $more->{second}, amount => '12'));
reports($more, 'edited and the difference paid', time => $paid_at);

# six transactions cancel an order, and it is read between any two of them
my $between = cart();
my @steps = ($between->buy, $between->cancel);
$shop->sql("SELECT capi.pause('orders')");
$shop->run(splice @steps, 0, @steps - 2);
$shop->sql("SELECT capi.resume('orders')");
$shop->settle;
$shop->run(@steps);
reports($between, 'read half cancelled');

$shop->nothing_else;
$shop->runs_again(sub { my $order = cart(); return ($order, $order->buy) });

$shop->attach('only_address=buyer');
my $one = cart(billing => undef);
$shop->run($one->buy);
reports($one, 'the only address is the buyer\'s');
done_testing();
