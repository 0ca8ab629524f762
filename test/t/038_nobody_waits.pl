# P6: the dispatcher waits for nobody's transaction; what it could not do it does
# later, and nothing is lost or repeated for it.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
$node->sql(q{
CREATE TABLE shop.letters (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, at timestamptz DEFAULT now(), note text);
GRANT INSERT, SELECT ON shop.letters TO shop_app}, 'shop_owner');
$node->attach(source => 'letters', table_name => 'shop.letters', event_name => 'Lead', on_column => 'note', on_values => undef,
	query => q{SELECT l.id AS key, l.at AS event_time, 'lead-' || l.id AS event_id, l.email AS em,
	'203.0.113.9' AS client_ip_address, 'agent' AS client_user_agent FROM shop.letters l});
$node->pay($node->place_orders(1));
$node->wait_until_idle;
my $pid = $node->dispatcher_pid;

sub delivered
{
	my ($source, $n) = @_;

	return $node->wait_for("SELECT count(*) = $n FROM capi.delivery_status WHERE source = '$source' AND status = 'delivered'", 15);
}

my $admin = $node->session(role => 'shop_owner');
my $orders = 1;
foreach my $change ("capi.alter_source('letters', hold => '0')", "capi.pause('letters')", "capi.detach('letters')")
{
	$admin->sql("BEGIN; SELECT $change");
	$node->pay($node->place_orders(3));
	ok(delivered('paid_orders', $orders += 3), "P6: another source goes on while $change is not committed");
	$node->sql("INSERT INTO shop.letters (email, note) VALUES ('a\@b.example', 'x')", 'shop_app') if $change !~ /detach/;
	$admin->sql('ROLLBACK');
}
ok(delivered('letters', 2), 'P3: and the source itself when it is over');

# a miss of a source whose row somebody has changed
$node->sql('ALTER TABLE shop.letters RENAME COLUMN note TO remark', 'shop_owner');
$admin->sql("BEGIN; SELECT capi.pause('letters')");
$node->sql("INSERT INTO shop.letters (email, remark) VALUES ('a\@b.example', 'x')", 'shop_app');
$node->pay($node->place_orders(3));
ok(delivered('paid_orders', $orders += 3), 'P6: another source goes on while a miss cannot be counted');
$admin->sql('ROLLBACK');
ok($node->wait_for("SELECT missed_captures = 1 FROM capi.source_status WHERE source = 'letters'"), 'P10: it is counted once, when it can be');
ok($node->wait_for("SELECT missed_captures = 1 FROM capi.source WHERE name = 'letters'"), 'P10: and for good');
$node->sql('ALTER TABLE shop.letters RENAME COLUMN remark TO note', 'shop_owner');

# tables that somebody holds: nothing is lost, nothing repeated
my $holder = $node->session;
foreach my $table (qw(delivery request backlog source dataset state context direct_event queue_0))
{
	$holder->sql("BEGIN; LOCK TABLE capi.$table IN EXCLUSIVE MODE");
	$node->pay($node->place_orders(5));
	$orders += 5;
	ok($sandbox->wait_for(distinct_events => $orders + 2, timeout_s => 15), "P6: capi.$table is held: orders are sent")
	  if $table !~ /backlog/;
	$holder->sql('COMMIT');
	ok(delivered('paid_orders', $orders), "P3: capi.$table is held: and recorded when it is free");
}
foreach my $table (qw(delivery backlog source state))
{
	$holder->sql("BEGIN; LOCK TABLE capi.$table");
	$node->pay($node->place_orders(5));
	$orders += 5;
	$node->sql('SELECT pg_sleep(0.5)');
	$holder->sql('COMMIT');
	ok(delivered('paid_orders', $orders), "P3: capi.$table is held by all means: orders go on afterwards");
}
is($node->dispatcher_pid, $pid, 'P6: the dispatcher is the same process all the while');
is($node->repeats, 0, 'P5: nothing was sent twice');
$_->quit foreach $admin, $holder;

done_testing();
