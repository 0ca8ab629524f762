# examples/saleor/recipe.sql against what Saleor writes: the order before its
# lines, a log that says when it was paid, a charge status that does not.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('saleor');
my $time = time - 7200;

my %gdansk = (first_name => 'Ewa', last_name => 'Wiśniewska', city => 'GDAŃSK', postal_code => '80-001',
	country => 'PL', country_area => '', phone => '+48 58 305 00 01');
my %of_ewa = (em => 'ewa@example.pl', ph => '48583050001', fn => 'ewa', ln => 'wiśniewska',
	ct => 'gdańsk', zp => '80001', country => 'pl', currency => 'PLN', value => '149.97',
	contents => [ [ 'BOOK', 2, '49.99' ], [ 'UHJvZHVjdFZhcmlhbnQ6MQ==', 1, '49.99' ] ]);

sub order
{
	my (%with) = @_;

	return Saleor->order(time => $time += 60, address => {%gdansk}, billing => {%gdansk}, total => '149.97',
		items => [ [ 'BOOK', '49.99', 2 ], [ undef, '49.99', 1 ], [ 'TOTE', 0, 1, { is_gift => 't' } ] ],
		%with);
}

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_ewa, order_id => $order->{number},
		time => $order->{paid_at}, %expected);
	return;
}

# --- no purchases ------------------------------------------------------------

my $failed = order();
my $unpaid = order();
my $half = order();
my $waived = order();
my $imported = order();
my $draft = order();
my $prepaid = order();
my $forgotten = order();
my $paid_import = order();
$shop->run($failed->fail, $unpaid->checkout(0), $half->checkout(100), $imported->import_order,
	$forgotten->draft, $forgotten->charge('149.97'),
	$paid_import->import_order, $paid_import->charge_import,
	$draft->draft, $prepaid->draft, $prepaid->charge('149.97'),
	$waived->checkout(0), $waived->grant_refund('149.97'));
$shop->settle;
is($shop->sql("SELECT charge_status FROM order_order WHERE id = '$waived->{id}'"), 'full',
	'an unpaid order, all of it granted as a refund, is "fully charged"');
is($shop->captured($_->{id}), '', 'not captured')
  foreach $failed, $unpaid, $half, $waived, $imported, $draft, $prepaid,
  $forgotten, $paid_import;

# --- purchases, read at once -------------------------------------------------

my $paid = order(columns => { user_id => 12 },
	metadata => { fbp => 'fb.1.1700000000000.1', fbc => 'fb.1.1700000000000.Q-_q' });
$shop->run($paid->buy);
reports($paid, 'paid at checkout', external_id => '12', fbp => 'fb.1.1700000000000.1',
	fbc => 'fb.1.1700000000000.Q-_q');

$shop->run($unpaid->charge('149.97'));
reports($unpaid, 'charged later');

$shop->run($half->charge('49.97'));
reports($half, 'charged in two parts');

my $by_hand = order();
$shop->run($by_hand->checkout(0), $by_hand->mark_as_paid);
reports($by_hand, 'marked as paid');

$shop->run($draft->complete, $draft->charge('149.97'));
reports($draft, 'typed in by staff', action_source => 'other');

$shop->run($prepaid->complete);
reports($prepaid, 'typed in, paid, then completed', action_source => 'other');

my $marked = order();
$shop->run($marked->draft, $marked->mark_as_paid);
$shop->ignores($marked->{id}, 'a draft that is marked as paid', 'draft');
my $first = $marked->{paid_at};
$shop->run($marked->complete);
reports($marked, 'and completed: looked at again', action_source => 'other', time => $first);
delete $shop->{ignored}{ $marked->{id} };

$shop->run($imported->mark_as_paid);
$shop->ignores($imported->{id}, 'an import that is marked as paid', 'imported order');

my $reissued = order(origin => 'reissue');
$shop->run($reissued->buy);
$shop->ignores($reissued->{id}, 'a replacement', 'replacement for an earlier order');

my $dinar = order(currency => 'KWD', total => '12.345', items => [ [ 'BOOK', '12.345', 1 ] ],
	billing => { %gdansk, first_name => 'Noor', last_name => 'Al Sabah', city => 'Kuwait City',
		postal_code => '', country => 'KW', phone => '2245 0000' });
$shop->run($dinar->buy);
reports($dinar, 'three decimals, billed elsewhere', value => '12.345', currency => 'KWD',
	ph => '96522450000', fn => 'noor', ln => 'alsabah', ct => 'kuwaitcity',
	zp => undef, country => 'kw', contents => [ [ 'BOOK', 1, '12.345' ] ]);

my $yen = order(currency => 'JPY', total => '1200.000', items => [ [ 'BOOK', '1200.000', 1 ] ]);
$shop->run($yen->buy);
reports($yen, 'yen', value => '1200', currency => 'JPY', contents => [ [ 'BOOK', 1, '1200' ] ]);

my $digital = order(address => undef, billing => undef);
$shop->run($digital->buy);
reports($digital, 'no address at all', map { $_ => undef } qw(ph fn ln ct zp country));

# --- whose data ---------------------------------------------------------------

my @NOWHERE = map { $_ => undef } qw(ph ct zp country);
my %jan = (first_name => 'Jan', last_name => 'Nowak', city => 'Kraków', postal_code => '30-001',
	country => 'PL', phone => '+48 12 305 00 02');
my $gift = order(address => {%jan});
$shop->run($gift->buy);
reports($gift, 'a present');

my $both = order(address => { %jan, first_name => 'ewa', last_name => ' Wiśniewska' });
$shop->run($both->buy);
reports($both, 'two addresses of one person', ph => [ '48583050001', '48123050002' ]);

my $guest = order(billing => undef);
$shop->run($guest->buy);
reports($guest, 'a guest without billing address', @NOWHERE, fn => undef, ln => undef);

my $member = order(billing => undef, columns => { user_id => 12 });
$shop->run($member->buy);
reports($member, 'an account of the name in the only address', external_id => '12');

my $bare_gift = order(billing => undef, address => {%jan}, columns => { user_id => 12 });
$shop->run($bare_gift->buy);
reports($bare_gift, 'an account that sends a present', @NOWHERE, external_id => '12');

my $elsewhere = order(billing => undef, columns => { user_id => 13 });
$shop->run($elsewhere->buy);
reports($elsewhere, 'an account of another e-mail', @NOWHERE, fn => undef, ln => undef, external_id => '13');

my $free = order(total => '0', items => [ [ 'BOOK', 0, 1 ] ]);
$shop->run($free->buy);
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

# --- afterwards, and read late -----------------------------------------------

$shop->run($paid->cancel, $half->refund('149.97'));
$shop->settle;

my $gone = order();
my $refunded = order();
my $part = order();
$shop->late($gone->buy, $gone->cancel, $refunded->buy, $refunded->refund('149.97'),
	$part->buy, $part->grant_refund('50'), $part->refund('50'));
$shop->ignores($gone->{id}, 'cancelled', 'cancelled before it was sent');
reports($refunded, 'refunded');
reports($part, 'part refunded');

# an order whose entry in the log got lost is one that the query returns
my $lost = order();
my @statements = $lost->buy;
$shop->run(@statements[ 0 .. $#statements - 1 ]);
my $query = $shop->sql("SELECT query FROM capi.source");
is($shop->sql("SELECT q.key FROM ($query) q WHERE NOT EXISTS (SELECT FROM capi.delivery_status s "
		. 'WHERE s.order_key = q.key::text)'), $lost->{id}, 'paid and not in the log: it will be missed');
$shop->run($statements[-1]);
reports($lost, 'the entry comes late');

$shop->nothing_else;
$shop->runs_again(sub { my $order = order(); return ($order, $order->buy) });

$shop->attach('only_address=buyer');
my $one = order(billing => undef);
$shop->run($one->buy);
reports($one, 'the only address is the buyer\'s');
done_testing();
