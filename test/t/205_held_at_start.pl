# P6: who begins to deliver while somebody has a lock on a table of capi's, an
# index is made on one say, delivers what does not need that table.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $holder = $node->session;

$node->install_capi;
$node->attach;
$node->pay($node->place_orders(1));
$node->wait_until_idle;

sub delivered
{
	my $keys = "'" . join("', '", @_) . "'";

	return $node->wait_for("SELECT count(*) = " . @_ . " FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ($keys)", 20);
}

foreach my $table (qw(context consent))
{
	my $pid = $node->dispatcher_pid;
	my @ids = $node->place_orders(2);

	$holder->sql("BEGIN; LOCK TABLE capi.$table IN SHARE MODE");
	$node->sql("SELECT pg_terminate_backend($pid)");
	$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher' AND pid <> $pid") or die;
	$node->pay(@ids);
	ok(delivered(@ids), "capi.$table is held: a dispatcher that starts delivers");
	$holder->sql('COMMIT');
}

$node->change('capi.databases' => '');
$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
foreach my $table (qw(context consent))
{
	my @ids = $node->place_orders(2);

	$node->pay(@ids);
	$holder->sql("BEGIN; LOCK TABLE capi.$table IN SHARE MODE");
	$node->sql("CALL capi.deliver(max_time => '20s')");
	ok(delivered(@ids), "capi.$table is held: so does capi.deliver()");
	$holder->sql('COMMIT');
}
is($node->repeats, 0, 'P5: nothing was sent twice');
$holder->quit;

done_testing();
