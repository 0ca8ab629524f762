# The variation "placed instead of paid" of the recipes of Medusa and Vendure, made
# of them as their READMEs say.
use strict;
use warnings;
use utf8;

use Test::More;
use CapiTest::Shop;

# What is left of the source is detached; the query of the recipe is changed by
# these pairs of patterns and texts, each of which must be found.
sub vary
{
	my ($shop, $arguments, @changes) = @_;
	my $query = $shop->sql("SELECT query FROM capi.source WHERE name = 'orders'");

	while (my ($pattern, $text) = splice @changes, 0, 2)
	{
		$query =~ s/$pattern/$text/s or die "the recipe has no $pattern";
	}
	$query =~ s/'/''/g;
	$shop->sql("BEGIN; SELECT capi.detach('orders'); SELECT capi.attach(source => 'orders', dataset => 'main', "
		  . "$arguments, query => '$query'); COMMIT", 'shop_owner');
	return;
}

# --- Medusa ---------------------------------------------------------------------

my $medusa = CapiTest::Shop->create('medusa');
my %linz = (first_name => 'Élodie', last_name => 'Moser', city => 'Linz', country_code => 'at',
	province => '', postal_code => '4020', phone => '0732 12 34 56');
my %of_elodie = (em => 'elodie@example.com', ph => '43732123456', fn => 'élodie', ln => 'moser',
	ct => 'linz', zp => '4020', country => 'at', currency => 'EUR', contents => [ [ 'SHIRT', 3, '24.99' ] ]);
my $n = 0;

vary($medusa, q{table_name => '"order"', on_column => 'status', on_values => '{pending}', hold => '1 second'},
	qr/t\.created_at AS event_time/s => 'o.created_at AS event_time',
	qr/round\(least\(pay\.captured, due\.amount\), cur\.digits\)/s => 'round(due.amount, cur.digits)',
	qr/FROM order_transaction t\s+JOIN "order" o ON o\.id = t\.order_id/s => 'FROM "order" o',
	qr/ CROSS JOIN LATERAL \(\s+-- refunds have a reference of their own.*?\) pay\n/s => '',
	qr/AND pc\.created_at <= pay\.at\n/s => '',
	qr/-- amounts are not rounded: what is less.*?THEN 'part paid'\n/s => '',
	qr/x\.version <= pay\.version/s => 'x.version <= 1',
	qr/ -- one capture of each order.*\z/s => ' WHERE o.deleted_at IS NULL');

sub cart
{
	my (%with) = @_;

	return Medusa->cart(time => time - 600 + ++$n, email => 'elodie@example.com', customer => 'cus_' . $n,
		address => {%linz}, billing => {%linz}, total => '89.97', items => [ [ 'SHIRT', '24.99', 3 ] ], %with);
}

my $refused = cart();
my $placed = cart();
my $draft = cart(draft => 1, status => 'draft', stays => 1);
$medusa->run($refused->start, $refused->place, $refused->refuse, $placed->start, $placed->place, $placed->authorize,
	$draft->draft);
$medusa->settle;

sub reports
{
	my ($order, $name, %expected) = @_;
	my ($display, $time) = split /\|/,
	  $medusa->sql(qq{SELECT display_id, floor(extract(epoch FROM created_at)) FROM "order" WHERE id = '$order->{id}'});

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$medusa->reports($order->{id}, $name, %of_elodie, order_id => $display, external_id => $order->{customer},
		time => $time, value => '89.97', %expected);
	return;
}

reports($placed, 'placed, not paid');
$medusa->ignores($refused->{id}, 'refused while it was held', 'not returned by the query') if $medusa->captured($refused->{id});
is($medusa->captured($draft->{id}), '', 'a draft is no order');
$medusa->run(qq{UPDATE "order" SET status = 'pending', is_draft_order = false WHERE id = '$draft->{id}'});
reports($draft, 'converted long after the hold', action_source => 'other');
$medusa->run($placed->capture, $placed->ship);
reports($placed, 'paid later: once');

# --- Vendure ----------------------------------------------------------------------

my $vendure = CapiTest::Shop->create('vendure');
vary($vendure, q{table_name => '"order"', on_column => 'orderPlacedAt', time_zone => 'UTC'},
	qr/FILTER \(WHERE p\.state = 'Settled'\)/s => q{FILTER (WHERE p.state IN ('Settled', 'Authorized'))},
	qr/\n   AND \(h\.settled\n.*?'Delivered'\)\)/s => '');

my $authorized = Vendure->cart(customer => { id => 1, firstName => 'Anna', lastName => 'Gruber', emailAddress => 'anna@example.com' },
	shipping => { fullName => 'Anna Gruber', city => 'Graz', postalCode => '8010', countryCode => 'AT' }, items => [ [ 1, 1000, 2 ] ]);
my $abandoned = Vendure->cart(customer => { id => 1, firstName => 'Anna', lastName => 'Gruber', emailAddress => 'anna@example.com' },
	shipping => {}, items => [ [ 1, 1000, 2 ] ]);
$vendure->run($authorized->buy(state => 'Authorized'), $abandoned->checkout);
$vendure->reports($authorized->{id}, 'authorised', em => 'anna@example.com', fn => 'anna', ln => 'gruber', ct => 'graz',
	zp => '8010', country => 'at', external_id => '1', currency => 'EUR', value => '29', order_id => $authorized->{code},
	time => $authorized->{placed_at}, contents => [ [ 'MUG', 2, '12' ] ]);
is($vendure->captured($abandoned->{id}), '', 'a cart is no order');

done_testing();
