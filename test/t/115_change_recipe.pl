# A recipe is changed while the shop sells: by running it again, and where another
# rule needs it by detaching and attaching in one transaction.  No order is lost.
use strict;
use warnings;

use Test::More;
use CapiTest::Shop;

my @VARIABLES = ('user_table=accounts_user');
my $shop = CapiTest::Shop->create('oscar', variables => [@VARIABLES]);
my $time = time - 600;

sub order
{
	return Oscar->order(placed => ++$time, total => '9.99', lines => [ [ undef, 'SKU-1', 1, '9.99' ] ]);
}

sub source { return $shop->sql("SELECT md5(s::text) FROM capi.source s WHERE name = 'orders'") }

# --- a run that fails leaves everything as it was --------------------------------

my $before = source();
my ($out, $err) = $shop->try_attach('user_table=nobody');
like($err, qr/relation "nobody" does not exist/, 'a wrong variable is an error');
my @errors = $err =~ /ERROR/g;
is(scalar @errors, 1, 'and the recipe ends there');
($out, $err) = $shop->try_attach(@VARIABLES, 'only_address=yes');
like($err, qr/only_address must be buyer or unknown/, 'a word that it does not know, too');
is(source(), $before, 'nothing was changed');

# --- another source of that name stands in the way ----------------------------------

$shop->sql("BEGIN; SELECT capi.detach('orders'); SELECT capi.attach(source => 'orders', table_name => 'order_line', "
	  . "dataset => 'main', key_columns => '{order_id}', query => 'SELECT id AS key, date_placed AS event_time FROM order_order'); COMMIT",
	'shop_owner');
($out, $err) = $shop->try_attach(@VARIABLES);
like($err, qr/source "orders" already exists.*capi\.detach\(\) and capi\.attach\(\) in one transaction/s,
	'a source of another table is not touched, and the hint says what to do');

# --- that, while orders come and wait ---------------------------------------------

my $there = order();
my $meanwhile = order();
my $afterwards = order();
$shop->settle;
$shop->sql("SELECT capi.pause('orders')");
$shop->run($there->buy);
is($shop->captured($there->{id}), 'queued', 'an order waits');
my $admin = $shop->node->session(role => 'shop_owner');
my $customer = $shop->node->session(role => 'shop_app');
$admin->sql("BEGIN");
$admin->sql("SELECT capi.detach('orders')");
$admin->sql("SELECT capi.attach(source => 'orders', table_name => 'order_order', dataset => 'main', query => "
	  . q{'SELECT id AS key, date_placed AS event_time, total_incl_tax AS value, currency, ''a@example.com'' AS em FROM order_order')});
$customer->send(join(' ', $meanwhile->place));
$shop->node->wait_for("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'order_order'::regclass AND NOT granted") or die;
$admin->sql("COMMIT");
$customer->answer;
$shop->run($afterwards->buy);
$shop->settle;
is($shop->captured($_->{id}), 'delivered', 'an order around the change is reported')
  foreach $there, $meanwhile, $afterwards;
is($shop->sql("SELECT count(*) FROM capi.delivery_status WHERE reason = 'source detached'"), 0, 'and none was given up');

done_testing();
