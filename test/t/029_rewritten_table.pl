# P3: a reader that waited for a command that rewrites the shop's table finds
# the orders that are in it, though its transaction is older than the command.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
$node->pay($node->place_orders(5));
$node->wait_until_idle;

$node->sql("SELECT capi.pause('paid_orders')");
$node->pay($node->place_orders(20));
$node->wait_for('SELECT count(*) = 20 FROM capi.backlog') or die;

my $migration = $node->session(role => 'shop_owner');
my $begin = time;

$migration->sql('BEGIN; ALTER TABLE shop.orders ALTER COLUMN email TYPE varchar(200)');
$node->sql("SELECT capi.resume('paid_orders')");
ok( $node->wait_for(
		q{SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
		   WHERE NOT granted AND relation = 'shop.orders'::regclass AND backend_type = 'capi reader'}),
	'a reader waits for the migration');
$migration->sql('COMMIT');
$node->wait_for(q{SELECT count(*) = 25 FROM capi.delivery_status WHERE status IN ('delivered', 'ignored')
                      OR reason = 'not returned by the query'}) or die;
is( $node->sql('SELECT status, reason, count(*) FROM capi.delivery_status GROUP BY 1, 2'),
	'delivered||25', 'P3: no order is taken for one that the query does not return');
$node->deliveries_ok('P3: and all arrive');

done_testing();
