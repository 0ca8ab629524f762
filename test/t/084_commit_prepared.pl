# P3: COMMIT PREPARED, in whichever session, wakes who has to know: the dispatcher
# of orders, the launcher of an extension.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '1h'");

$node->wait_for("SELECT pg_read_file('" . $node->logfile . "') ~ 'ready to accept'") or die;
$node->sql("BEGIN; CREATE EXTENSION capi; PREPARE TRANSACTION 'extension'");
$node->sql("COMMIT PREPARED 'extension'");
ok($node->wait_for("SELECT dispatcher_pid IS NOT NULL FROM capi._slot()", 30), 'an extension that was prepared gets its dispatcher');
$node->sql("SELECT capi.grant_access('shop_owner', 'admin')");
$node->create_dataset;
$node->attach;
foreach my $round (1 .. 3)
{
	my @orders = $node->place_orders(2);

	$node->sql('BEGIN; ' . $node->pay_statement(@orders) . "; PREPARE TRANSACTION 'orders'", 'shop_app');
	$node->sql("COMMIT PREPARED 'orders'", 'shop_app');
	ok($node->wait_for('SELECT count(*) = 2 * ' . $round . " FROM capi.delivery_status WHERE status = 'delivered'", 30),
		"orders that were prepared are sent without the poll, $round");
}

done_testing();
