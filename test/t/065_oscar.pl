# examples/oscar/recipe.sql against what django-oscar 4 writes: the order in
# one transaction, before its lines; statuses of the project's own.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('oscar',
	variables => [ 'user_table=accounts_user', 'cancelled=Refused' ]);
my $time = time - 3600;

my %leeds = (first_name => 'Mary', last_name => 'Jones', line1 => 'High St', line4 => 'Leeds',
	state => 'West Yorkshire', postcode => 'LS1 1AA', country_id => 'GB', phone_number => '+441132223333');
my %paris = (first_name => 'Marie', last_name => 'Dupont', line4 => 'Paris', postcode => '75001',
	country_id => 'FR');
my %of_mary = (em => 'mary.jones@example.com', ph => '441132223333', fn => 'mary', ln => 'jones',
	ct => 'leeds', st => 'westyorkshire', zp => 'ls11aa', country => 'gb', external_id => '5',
	currency => 'GBP', value => '34.99', contents => [ [ '9780306406157', 1, '9.99' ], [ 'SKU-2', 2, '12.5' ] ]);

sub order
{
	my (%with) = @_;

	return Oscar->order(placed => ++$time, shipping => {%leeds}, total => '34.99',
		lines => [ [ '9780306406157', 'SKU-1', 1, '9.99' ], [ undef, 'SKU-2', 2, '25.00' ] ], %with);
}

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_mary, order_id => $order->{number},
		time => $order->{placed}, %expected);
	return;
}

# the stock runs out in the same transaction
my $out = order();
$shop->run($out->place(end => 'ROLLBACK'));
$shop->settle;
is($shop->captured($out->{id}), '', 'not captured: rolled back');
$shop->run($out->buy);
reports($out, 'placed again');

my $paid = order();
$shop->run($paid->buy);
reports($paid, 'a customer with an account');

my $guest = order(columns => { guest_email => 'guest@example.fr' }, billing => {%paris});
$shop->run($guest->buy);
reports($guest, 'a guest, billed elsewhere: a present', em => 'guest@example.fr', external_id => undef,
	ph => undef, fn => 'marie', ln => 'dupont', ct => 'paris', st => undef, zp => '75001', country => 'fr');

my $digital = order(shipping => undef, columns => { guest_email => 'guest@example.fr' });
$shop->run($digital->buy);
reports($digital, 'no address at all', em => 'guest@example.fr',
	map { $_ => undef } qw(external_id ph fn ln ct st zp country));

my $national = order(shipping => { %leeds, phone_number => '0113 222 3333' });
$shop->run($national->buy);
reports($national, 'a number as it is dialled there');

my $yen = order(currency => 'JPY', total => '1000.00', lines => [ [ '', 'SKU-1', 3, '1000.00' ] ]);
$shop->run($yen->buy);
reports($yen, 'yen', value => '1000', currency => 'JPY', contents => [ [ 'SKU-1', 3, '333' ] ]);

# --- whose data ---------------------------------------------------------------

my @NOWHERE = map { $_ => undef } qw(ph ct st zp country);
my $both = order(billing => { %paris, first_name => 'MARY', last_name => 'Jones' });
delete $both->{billing}{phone_number};
$shop->run($both->buy);
reports($both, 'two addresses of one person', ct => 'paris', st => undef, zp => '75001', country => 'fr');

my $gift = order(shipping => { %paris, phone_number => '+33 1 23 45 67 89' });
$shop->run($gift->buy);
reports($gift, 'an account that sends a present', @NOWHERE);

my $bare = order(columns => { guest_email => 'guest@example.fr' });
$shop->run($bare->buy);
reports($bare, 'a guest without billing address', @NOWHERE, em => 'guest@example.fr', external_id => undef,
	fn => undef, ln => undef);

my $free = order(total => '0.00', lines => [ [ '', 'SKU-1', 1, '0.00' ] ]);
$shop->run($free->buy);
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

# --- afterwards, and read late -----------------------------------------------

$shop->run($paid->set_status('Being processed'), $paid->set_status('Refused'), $paid->refund);
$shop->settle;

my $gone = order();
my $refunded = order();
$shop->late($gone->buy, $gone->set_status('Refused'), $refunded->buy, $refunded->refund,
	$refunded->set_status('Complete'));
$shop->ignores($gone->{id}, 'cancelled', 'cancelled before it was sent');
reports($refunded, 'refunded');

$shop->nothing_else;
my @VARIABLES = ('user_table=accounts_user', 'cancelled=Refused');
$shop->runs_again(@VARIABLES, sub { my $order = order(); return ($order, $order->buy) });

$shop->attach(@VARIABLES, 'only_address=buyer');
my $one = order(columns => { guest_email => 'guest@example.fr' });
$shop->run($one->buy);
reports($one, 'the only address is the buyer\'s', em => 'guest@example.fr', external_id => undef);
done_testing();
