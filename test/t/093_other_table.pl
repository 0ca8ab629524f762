# The table of a source is replaced, its numbers begin again, row security hides
# its orders: each is said, and has a way out.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;

sub source_is
{
	my ($state, $reason, $name) = @_;

	return like($node->sql("SELECT state, reason FROM capi.source_status"), qr/^$state\|.*$reason/s, $name);
}

sub diagnosis
{
	my ($check) = @_;

	return $node->sql("SELECT ok, detail, hint FROM capi.diagnose() WHERE \"check\" = '$check'");
}

# a table that takes the place of another
my ($before, $waiting) = $node->place_orders(2);
$node->pay($before);
$node->wait_until_idle;
$node->sql("SELECT capi.pause('paid_orders')");
$node->pay($waiting);
ok($node->wait_for("SELECT count(*) = 1 FROM capi.backlog"), 'an order waits');
$node->sql(q{
BEGIN;
CREATE TABLE shop.orders_new (LIKE shop.orders INCLUDING ALL);
INSERT INTO shop.orders_new OVERRIDING SYSTEM VALUE TABLE shop.orders;
GRANT SELECT, INSERT, UPDATE ON shop.orders_new TO shop_app;
SELECT setval(pg_get_serial_sequence('shop.orders_new', 'id'), 100);
ALTER TABLE shop.orders RENAME TO orders_old;
ALTER TABLE shop.orders_new RENAME TO orders;
COMMIT}, 'shop_owner');
source_is('broken', 'another table has the name "shop.orders" now', 'P10: a replaced table is said');
like(diagnosis('sources'), qr/^f\|.*another table/, 'P10: also by diagnose()');
$node->sql("SELECT capi.resume('paid_orders')");
$node->sql("SELECT capi.alter_source('paid_orders', table_name => 'shop.orders')", 'shop_owner');
source_is('active', '', 'alter_source() moves the source');
is($node->sql("SELECT count(*) FROM pg_trigger WHERE tgname = 'capi_capture' AND tgrelid = 'shop.orders_old'::regclass"),
	'0', 'the old table is left alone');
my ($after) = $node->place_orders(1);
$node->pay($after);
$node->sql("UPDATE shop.orders SET status = 'pending' WHERE id = $before; UPDATE shop.orders SET status = 'paid' WHERE id = $before",
	'shop_app');
$node->sql('DROP TABLE shop.orders_old', 'shop_owner');
$node->wait_until_idle;
$node->deliveries_ok('P3: with what waited, and nothing twice');
$node->sql('ALTER TABLE shop.orders RENAME TO sales', 'shop_owner');
unlike($node->sql('SELECT reason FROM capi.source_status'), qr/another table/, 'a table that was only renamed is none');
$node->sql('ALTER TABLE shop.sales RENAME TO orders', 'shop_owner');

# detached, and attached to another table
$node->sql(q{SELECT capi.detach('paid_orders')}, 'shop_owner');
$node->sql('CREATE TABLE shop.other (LIKE shop.orders)', 'shop_owner');
my ($out, $err);
$node->psql('shop', q{SELECT capi.attach('paid_orders', 'shop.other', 'main', query =>
	'SELECT id AS key, paid_at AS event_time FROM shop.other', key_columns => '{id}')},
	stderr => \$err, extra_params => [ '-U', 'shop_owner' ]);
like($err, qr/had another table before, and keeps its history/, 'a history with another table is said by attach()');
$node->sql(q{SELECT capi.detach('paid_orders')}, 'shop_owner');
$node->attach;

# numbers that begin again
foreach my $way ('TRUNCATE shop.orders RESTART IDENTITY',
	'DELETE FROM shop.orders; ALTER TABLE shop.orders ALTER COLUMN id RESTART')
{
	my @old = $node->place_orders(2);

	$node->pay(@old);
	$node->wait_until_idle;
	$node->sql($way, 'shop_owner');
	ok($node->wait_for('SELECT reason IS NOT NULL FROM capi.source_status'), 'it is noticed');
	source_is('active', 'numbers of the table began again', "P10: source_status, $way");
	like(diagnosis('history'), qr/^f\|.*capi\.forget_history\('paid_orders'\)/, 'P10: diagnose() names the way out');
	cmp_ok($node->sql("SELECT capi.forget_history('paid_orders')", 'shop_owner'), '>', 0, 'the history is forgotten');
	source_is('active', '', 'P10: and that is that');
	my $count = $sandbox->events(dataset => $node->dataset_id);
	my ($new) = $node->place_orders(1);
	is($new, '1', 'order 1 again');
	$node->pay($new);
	$node->wait_until_idle;
	is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '1'"), 'delivered',
		'P3: it is reported');
}
$node->sql('TRUNCATE shop.orders');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
source_is('active', '\|?$', 'a TRUNCATE after which numbers go on is nothing');

# row security
$node->sql('ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.orders FORCE ROW LEVEL SECURITY;'
	  . 'CREATE POLICY app ON shop.orders TO shop_app USING (true)', 'shop_owner');
source_is('active', 'row security of the table may hide orders from role shop_owner', 'P10: row security is said');
like(diagnosis('row security'), qr/^f\|.*BYPASSRLS/, 'P10: also by diagnose()');
$node->psql('shop', q{SELECT capi.alter_source('paid_orders')}, stderr => \$err, extra_params => [ '-U', 'shop_owner' ]);
like($err, qr/WARNING:  row security of table "shop.orders" may hide orders from role "shop_owner"/,
	'P10: and by alter_source() and attach()');
$node->sql('ALTER ROLE shop_owner BYPASSRLS');
source_is('active', '\|?$', 'who passes by it sees all');
like(diagnosis('row security'), qr/^t/, 'and diagnose() has nothing to say');

$node->stop;
done_testing();
