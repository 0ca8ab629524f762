# The way of an order through the real trigger, queue, worker and TLS, and what
# must not take it: rolled-back work in all its forms.
use strict;
use warnings;

use IPC::Run;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;

# P3, P5: every paid order arrives once
my @ids = $node->place_orders(50);
$node->pay(@ids[ 0 .. 29 ]);
$node->wait_until_idle;
$node->deliveries_ok('P3 P5: 30 paid orders of 50');

# P5: once per order, however often its rule fires
$node->sql("UPDATE shop.orders SET status = 'pending' WHERE id = $ids[0]; "
	  . "UPDATE shop.orders SET status = 'paid' WHERE id = $ids[0]");
$node->sql("UPDATE shop.orders SET status = status");
$node->wait_until_idle;
$node->deliveries_ok('P5: the rule fired again');

# P4: nothing that did not happen
$node->sql('BEGIN; ' . $node->pay_statement($ids[30]) . '; ROLLBACK');
$node->sql('BEGIN; SAVEPOINT a; ' . $node->pay_statement($ids[31])
	  . '; ROLLBACK TO a; ' . $node->pay_statement($ids[32]) . '; COMMIT');
$node->sql('BEGIN; SAVEPOINT a; SAVEPOINT b; ' . $node->pay_statement($ids[33])
	  . '; RELEASE b; RELEASE a; COMMIT');
$node->wait_until_idle;
$node->deliveries_ok('P4: rolled back, rolled back to a savepoint, released');

# an order that is captured in a prepared transaction waits for its second half
$node->sql('BEGIN; ' . $node->pay_statement($ids[34]) . "; PREPARE TRANSACTION 'sale'");
$node->sql('BEGIN; ' . $node->pay_statement($ids[35]) . "; PREPARE TRANSACTION 'no_sale'");
$node->pay($ids[36]);
$node->wait_until_idle;
$node->deliveries_ok('P4: prepared is not committed');
$node->append_conf('postgresql.conf', "capi.poll_interval = '100ms'");
$node->reload;
$node->sql("COMMIT PREPARED 'sale'");
$node->sql("ROLLBACK PREPARED 'no_sale'");
$node->wait_until_idle;
ok($sandbox->wait_for(distinct_events => scalar keys %{ $node->committed }),
	'P3: a prepared transaction that commits is found without a wake-up');
$node->deliveries_ok('P3 P4: two-phase commit');

# an earlier transaction commits after later ones
my ($in, $out) = ('', '');
my $late = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('shop') ],
	'<', \$in, '>', \$out);
$in .= 'BEGIN; ' . $node->pay_statement($ids[37]) . ";\n\\echo open\n";
$late->pump until $out =~ /open/;
$node->pay(@ids[ 38 .. 40 ]);
$node->wait_until_idle;
$node->deliveries_ok('P4: not before it commits');
$in .= "COMMIT;\n\\q\n";
$late->finish;
$node->wait_until_idle;
ok($sandbox->wait_for(distinct_events => scalar keys %{ $node->committed }),
	'P3: a transaction that began first and commits last is read');
$node->deliveries_ok('P3: late commit');

# one test order: ignored, with its reason
my ($test_order) = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET is_test = true WHERE id = $test_order");
$node->pay($test_order);
$node->wait_until_idle;
is($node->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$test_order'"),
	'ignored|test order', 'P10: an ignored order has its reason');

done_testing();
