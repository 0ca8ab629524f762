# P6: who holds the tables of audiences stops no orders.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '500ms'");
my $holder;
my @sent;

sub go_on
{
	my ($name) = @_;
	my ($id) = $node->place_orders(1);

	push @sent, $id;
	$node->pay($id);
	return ok($sandbox->wait_for(distinct_events => scalar @sent, timeout_s => 20), $name);
}

$node->install_capi;
$node->attach;
$node->sql(q{
CREATE TABLE shop.customers (id int PRIMARY KEY, email text);
INSERT INTO shop.customers VALUES (1, 'ann@example.com');
SELECT capi.create_audience(name => 'buyers', dataset => 'main', audience_id => '777',
    query => 'SELECT id AS key, email AS em, true AS consent FROM shop.customers')}, 'shop_owner');
ok($node->wait_for("SELECT state = 'ok' AND members = 1 FROM capi.audience_status"), 'an audience is in step');
go_on('and orders are sent');

foreach my $table (qw(audience audience_state))
{
	my $pid = $node->dispatcher_pid;

	$holder = $node->session;
	$holder->sql("BEGIN; LOCK TABLE capi.$table");
	# what is attached meanwhile is known
	$node->sql(q{SELECT capi.detach('paid_orders')}, 'shop_owner');
	$node->attach(event_name => 'Subscribe', source => "beside_$table");
	go_on("P6: capi.$table is held: orders go on, of a new source too");
	$node->sql("SELECT pg_terminate_backend($pid)");
	$node->dispatcher_pid($pid);
	go_on("P6: capi.$table is held: also in a dispatcher that begins");
	$holder->sql('COMMIT');
	$holder->quit;
	$node->sql("SELECT capi.detach('beside_$table')", 'shop_owner');
	$node->attach;
}
$node->sql(q{INSERT INTO shop.customers VALUES (2, 'ben@example.com'); SELECT capi.refresh_audience('buyers')}, 'shop_owner');
ok($node->wait_for("SELECT state = 'ok' AND members = 2 FROM capi.audience_status"), 'the audience is kept in step afterwards')
  or diag($node->sql('SELECT * FROM capi.audience_status'));
$node->wait_until_idle;
is(scalar($sandbox->events), scalar @sent, 'P5: each order was sent once');

done_testing();
