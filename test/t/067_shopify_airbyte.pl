# examples/shopify-airbyte/recipe.sql against what Airbyte writes in each of its
# sync modes: rows that are rewritten, rows that are many, tables that are swapped.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

my $shop = CapiTest::Shop->create('shopify-airbyte', writer => 'shop_owner');
my $time = time - 3600;
my $FBCLID = 'IwAR2fGhLmNoPqRsTuVwXyZ0123456789abcdefghijkl';
my %of_kim = (em => 'kim@example.com', ph => '14085550100', fn => 'kim', ln => 'leesmith',
	ct => 'sanjosé', st => 'ca', zp => '95110', country => 'us', external_id => '77',
	client_ip_address => '198.51.100.7', client_user_agent => 'Mozilla/5.0 (X11)',
	currency => 'USD', value => '60',
	contents => [ [ 'CAP-RED', 2, '19.99' ], [ '4711', 1, '20.02' ] ]);
my @NO_BROWSER = map { $_ => undef } qw(client_ip_address client_user_agent fbc event_source_url);
my @NOWHERE = map { $_ => undef } qw(ph ct st zp country);
my %home = (first_name => 'Kim', last_name => 'Lee-Smith', city => 'San José', zip => '95110-1234',
	phone => '(408) 555-0100', province => 'California', province_code => 'CA', country_code => 'US');
my %pat = (first_name => 'Pat', last_name => 'Lee', city => 'London', zip => 'SW1A 1AA',
	phone => '+44 20 7946 0958', province => undef, province_code => undef, country_code => 'GB');
my %kim = (id => 77, email => 'kim@example.com', first_name => 'Kim', last_name => 'Lee-Smith');

sub order
{
	my (%with) = @_;

	return ShopifyAirbyte->order(time => ++$time, customer => {%kim}, billing => {%home}, shipping => {%home},
		total => '60.00', items => [ [ 'CAP-RED', '19.99', 2, 1 ], [ '', '20.02', 1, 4711 ] ], %with);
}

sub sync { my ($how, @orders) = @_; $shop->run(ShopifyAirbyte->can($how)->(@orders)); return }
sub pay { $_->{status} = 'paid' foreach @_; return @_ }

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_kim, order_id => $order->{name}, time => $order->{time},
		event_source_url => 'https://shop.example.com', fbc => "fb.1." . $order->{time} . "000.$FBCLID", %expected);
	return;
}

# --- incremental, deduped ------------------------------------------------------

my @none = (order(), order(status => 'authorized'), order(status => 'partially_paid'), order(status => 'voided'));
sync(dedup => @none);
$shop->settle;
is($shop->captured($_->{id}), '', "not captured: $_->{status}") foreach @none;

my $paid = order();
sync(dedup => pay($paid));
reports($paid, 'paid at the first sight of it');

my $later = $none[1];
sync(dedup => pay($later));
reports($later, 'captured later');
sync(dedup => $paid, $later);
$paid->{columns}{fulfillment_status} = 'fulfilled';
sync(merge => $paid);
reports($paid, 'rewritten twice');

my $merged = $none[0];
sync(merge => pay($merged));
reports($merged, 'paid, by a merge');

my $seldom = order(status => 'partially_refunded', current => '10.00');
sync(dedup => $seldom);
reports($seldom, 'paid and refunded between two syncs');

my $test = order(columns => { test => 't' });
my $gone = order(cancelled => 1, status => 'refunded');
my $free = order(total => '0.00');
sync(dedup => pay($test, $free), $gone);
$shop->ignores($test->{id}, 'a test', 'test order');
$shop->ignores($gone->{id}, 'cancelled', 'cancelled before it was sent');
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

my $cookies = order(attributes => [ { name => '_fbp', value => 'fb.1.1700000000000.42' },
		{ name => 'fbc', value => 'fb.1.1700000000000.AbC-_d' }, { name => 'gift', value => 'yes' } ]);
my $store = order(columns => { source_name => 'pos' });
my $phoned = order(columns => { source_name => 'shopify_draft_order', map { $_ => undef } qw(browser_ip client_details landing_site) });
my $yen = order(currency => 'JPY', total => '5000', items => [ [ 'CAP-RED', '2500', 2, 1 ] ]);
sync(dedup => pay($cookies, $store, $phoned, $yen));
reports($cookies, 'cookies in the cart\'s attributes', fbp => 'fb.1.1700000000000.42', fbc => 'fb.1.1700000000000.AbC-_d');
reports($store, 'at the till', action_source => 'physical_store', @NO_BROWSER);
reports($phoned, 'typed in by staff', action_source => 'other', @NO_BROWSER);
reports($yen, 'yen', currency => 'JPY', value => '5000', contents => [ [ 'CAP-RED', 2, '2500' ] ]);

# --- whose data ------------------------------------------------------------------

my $gift = order(shipping => {%pat});
my $both = order(shipping => { %pat, first_name => ' KIM', last_name => 'lee-smith' });
my $bare = order(billing => undef);
my $bare_gift = order(billing => undef, shipping => {%pat});
my $guest = order(billing => undef, customer => { id => 77, email => 'kim@example.com' });
sync(dedup => pay($gift, $both, $bare, $bare_gift, $guest));
reports($gift, 'a present');
reports($both, 'two addresses of one person', ph => [ '14085550100', '442079460958' ]);
reports($bare, 'the only address names the customer');
reports($bare_gift, 'a present, no billing address', @NOWHERE);
reports($guest, 'a customer without a name, no billing address', @NOWHERE, fn => undef, ln => undef);

# --- incremental, appended: duplicates ------------------------------------------

my $twice = order();
sync(append => $twice);
sync(append => pay($twice));
sync(append => $twice, $paid);
reports($twice, 'three rows of one order');
$shop->nothing_else;
$shop->runs_again(sub { my $order = order(); return ($order, ShopifyAirbyte::append(pay($order))) });

# --- a table that is swapped ------------------------------------------------------

my @all = ($paid, $twice, $gift);
sync(overwrite => @all);
$shop->sql("SELECT capi.resume('orders')");
my $missed = order();
sync(append => pay($missed));
is($shop->sql('SELECT state FROM capi.source_status'), 'broken', 'the trigger went with the table, and the source says so');

$shop->sql("SELECT capi.detach('orders')");
$shop->attach('sync=overwrite');
$shop->sql('SELECT shopify_note_orders()', 'shop_owner');
$shop->settle;
is($shop->captured($missed->{id}), '', 'what was paid before is not reported');

my $next = order();
my $unpaid = order();
sync(overwrite => @all, pay($next), $unpaid);
is($shop->sql('SELECT shopify_note_orders()', 'shop_owner'), 1, 'a new order is noted');
reports($next, 'after a swap');
sync(overwrite => @all, $next, pay($unpaid));
sync(overwrite => @all, $next, $unpaid);
is($shop->sql('SELECT shopify_note_orders()', 'shop_owner'), 1, 'and what is paid later');
reports($unpaid, 'after two swaps');

# the table is away at the moment of reading
my $away = order();
sync(overwrite => @all, pay($away));
$shop->sql("SELECT capi.pause('orders')");
$shop->sql('SELECT shopify_note_orders(); ALTER TABLE orders RENAME TO orders_away', 'shop_owner');
$shop->sql("SELECT capi.resume('orders')");
$shop->node->wait_for("SELECT state = 'broken' FROM capi.source_status") or die;
$shop->sql('ALTER TABLE orders_away RENAME TO orders', 'shop_owner');
$shop->sql("SELECT capi.resume('orders')");
reports($away, 'read when the table is back');
$shop->runs_again('sync=overwrite', sub { my $order = order();
	return ($order, ShopifyAirbyte::append(pay($order)), 'SELECT shopify_note_orders();') });

done_testing();
