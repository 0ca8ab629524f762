# examples/shopify-fivetran/recipe.sql against what Fivetran writes: rows that are
# merged and rewritten, tables that come one after the other, a sync from anew.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop qw(insert);

my $shop = CapiTest::Shop->create('shopify-fivetran', writer => 'shop_owner', variables => ['hold=0']);
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
	phone => '+44 20 7946 0958', country_code => 'GB');
my %kim = (id => 77, email => 'kim@example.com', first_name => 'Kim', last_name => 'Lee-Smith');

sub order
{
	my (%with) = @_;

	return ShopifyFivetran->order(time => ++$time, customer => {%kim}, billing => {%home}, shipping => {%home},
		total => '60.00', items => [ [ 'CAP-RED', '19.99', 2, 1 ], [ '', '20.02', 1, 4711 ] ], %with);
}

sub sync { my ($how, @orders) = @_; $shop->run(ShopifyFivetran->can($how)->(@orders)); return }
sub pay { $_->{status} = 'paid' foreach @_; return @_ }

# Orders and their lines come apart: read when both are there.
sub together
{
	my @orders = @_;

	$shop->settle;
	$shop->sql("SELECT capi.pause('orders')");
	sync(sync => @orders);
	$shop->sql("SELECT capi.resume('orders')");
	return;
}

sub reports
{
	my ($order, $name, %expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->reports($order->{id}, $name, %of_kim, order_id => $order->{name}, time => $order->{time},
		event_source_url => 'https://shop.example.com', fbc => "fb.1." . $order->{time} . "000.$FBCLID", %expected);
	return;
}

my @none = (order(), order(status => 'authorized'), order(status => 'partially_paid'), order(status => 'voided'));
sync(sync => @none);
$shop->settle;
is($shop->captured($_->{id}), '', "not captured: $_->{status}") foreach @none;

my $paid = order();
together(pay($paid));
reports($paid, 'paid at the first sight of it');
my $later = $none[1];
together(pay($later));
reports($later, 'captured later');
sync(sync => $paid);
sync(rewrite => $paid, $later);
sync(resync => @none, $paid, $later);
reports($paid, 'merged, rewritten and synced anew');

my $deleted = order(columns => { _fivetran_deleted => 't' });
my $seldom = order(status => 'refunded', current => '0');
together(pay($deleted), $seldom);
reports($deleted, 'marked as deleted during a sync from anew');
reports($seldom, 'paid and refunded between two syncs');

my $test = order(columns => { test => 't' });
my $gone = order(cancelled => 1, status => 'refunded');
my $free = order(total => '0.00');
together(pay($test, $free), $gone);
$shop->ignores($test->{id}, 'a test', 'test order');
$shop->ignores($gone->{id}, 'cancelled', 'cancelled before it was sent');
$shop->ignores($free->{id}, 'nothing to pay', 'free of charge');

my $store = order(columns => { source_name => 'pos' });
my $phoned = order(columns => { source_name => 'shopify_draft_order',
		map { $_ => undef } qw(browser_ip client_details_user_agent landing_site_base_url) });
my $yen = order(currency => 'JPY', total => '5000', items => [ [ 'CAP-RED', '2500', 2, 1 ] ]);
my $float = order(total => '64.99000000000001', items => [ [ 'CAP-RED', '64.99000000000001', 1, 1 ] ]);
together(pay($store, $phoned, $yen, $float));
reports($store, 'at the till', action_source => 'physical_store', @NO_BROWSER);
reports($phoned, 'typed in by staff', action_source => 'other', @NO_BROWSER);
reports($yen, 'yen', currency => 'JPY', value => '5000', contents => [ [ 'CAP-RED', 2, '2500' ] ]);
reports($float, 'a float', value => '64.99', contents => [ [ 'CAP-RED', 1, '64.99' ] ]);

# --- whose data ------------------------------------------------------------------

my $gift = order(shipping => {%pat});
my $both = order(shipping => { %pat, first_name => ' KIM', last_name => 'lee-smith' });
my $bare = order(billing => undef);
my $bare_gift = order(billing => undef, shipping => {%pat});
my $guest = order(billing => undef, customer => undef);
together(pay($gift, $both, $bare, $bare_gift, $guest));
reports($gift, 'a present');
reports($both, 'two addresses of one person', ph => [ '14085550100', '442079460958' ]);
reports($bare, 'the only address names the customer');
reports($bare_gift, 'a present, no billing address', @NOWHERE);
reports($guest, 'a guest, no billing address', @NOWHERE, fn => undef, ln => undef, external_id => undef);

$shop->nothing_else;
$shop->runs_again('hold=0', sub { my $order = order(); return ($order, ShopifyFivetran::sync(pay($order))) });

my (undef, $err) = $shop->try_attach('hold=15');
like($err, qr/hold must have its unit/, 'fifteen, which would be seconds, is refused');

# lines come later than the order: the recipe holds it
$shop->attach;
is($shop->sql('SELECT hold FROM capi.source'), '00:15:00', 'an order is held until its lines are there');
my $held = order();
sync(sync => pay($held));
$shop->node->wait_for("SELECT status = 'held' FROM capi.delivery_status WHERE order_key = '$held->{id}'");
is($shop->captured($held->{id}), 'held', 'and is');

# --- a connection that reads the other API -----------------------------------------

$shop->sql("SELECT capi.detach('orders')");
$shop->attach('schema=shopify_graphql', 'api=graphql', 'hold=0');
my $other = order();
my %row = $other->columns;
my %renamed = (financial_status => 'display_financial_status', total_price => 'total_price_set_shop_amount',
	currency => 'currency_code', browser_ip => 'client_ip', order_status_url => 'status_page_url');
delete @row{qw(client_details_user_agent landing_site_base_url current_total_price)};
%row = map { $renamed{$_} // $_ => $row{$_} } keys %row;
$row{display_financial_status} = 'PENDING';
my @statements = (insert('order', %row),
	map { my %line = (%$_, order_id => $other->{id}, product_id => 7); $line{original_unit_price_set_shop_amount} = delete $line{price};
		insert('order_line', %line) } @{ $other->{lines} });
$shop->run(map { s/INTO "/INTO shopify_graphql."/r } @statements);
$shop->settle;
is($shop->captured($other->{id}), '', 'not captured: PENDING');
$shop->run(qq{UPDATE shopify_graphql."order" SET display_financial_status = 'PAID' WHERE id = $other->{id}});
reports($other, 'by the GraphQL API', client_user_agent => undef, fbc => undef);

done_testing();
