# P6, P12: where worker slots are few, databases and roles share them.
# slow
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

# launcher, two dispatchers, and one slot for a reader
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop, toys',
	conf => "max_worker_processes = 4\nmax_logical_replication_workers = 0\nmax_parallel_workers = 0");
my $toys = $node->in_database('toys', dataset_id => '222');

$toys->create_shop;
foreach my $shop ($node, $toys)
{
	$shop->install_capi;
	$shop->attach;
	$shop->dispatcher_pid;
}

sub delivered_in_time
{
	my ($shop, $name) = @_;
	my $began = time;
	my @ids = $shop->place_orders(2);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$shop->pay(@ids);
	ok($shop->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('" . join("', '", @ids) . "')", 90),
		"P6: $name: delivered");
	cmp_ok(time - $began, '<', 10, "P6: $name: in time");
	return;
}

# --- two databases ---------------------------------------------------------------

delivered_in_time($node, 'the first takes the slot');
delivered_in_time($toys, 'the second gets it');
delivered_in_time($node, 'and the first again');
is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'capi reader'"), 1, 'P12: there is one');

# one that has two at work does with one
$node->append_conf('postgresql.conf', 'max_worker_processes = 5');
$node->restart;
$node->sql(q{
CREATE TABLE shop.gate (tries int);
INSERT INTO shop.gate VALUES (0);
CREATE FUNCTION shop.slowly() RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(0.3)::text'}, 'shop_owner');
$node->attach(source => "slow$_", event_name => "Slow$_", query => q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em, 'https://shop.example/' AS event_source_url,
       'test agent' AS client_user_agent, CASE WHEN shop.slowly() IS NOT NULL THEN 'slow' END AS ignore_reason FROM shop.orders o})
  foreach 1, 2;
delivered_in_time($node, 'queries run to their end');
ok($node->wait_for("SELECT count(*) = 0 FROM capi.delivery_status WHERE source ~ 'slow' AND status <> 'ignored'"), 'P6: slow ones too');
$node->pay($node->place_orders(40)) foreach 1 .. 2;
ok($node->wait_for("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'capi reader' AND datname = 'shop' AND state = 'active'"),
	'P12: one database has all slots at work');
delivered_in_time($toys, 'another one comes');
ok($node->wait_for("SELECT count(*) = 0 FROM capi.delivery_status WHERE status NOT IN ('delivered', 'ignored')", 90), 'P3: and all of the first is done');

# --- two roles -------------------------------------------------------------------

$node->append_conf('postgresql.conf', "max_worker_processes = 4");
$node->restart;
$node->sql('CREATE ROLE tenant LOGIN; CREATE SCHEMA next AUTHORIZATION tenant; GRANT USAGE ON SCHEMA next TO shop_app');
$node->sql("SELECT capi.grant_access('tenant', 'admin')");
$node->sql('CREATE TABLE next.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now()); GRANT INSERT, SELECT ON next.orders TO shop_app', 'tenant');
$node->sql("SELECT capi.attach(source => 'next', table_name => 'next.orders', dataset => 'main', query => \$q\$
	SELECT o.id AS key, o.at AS event_time, 1 AS value, 'EUR' AS currency, 'next-' || o.id AS event_id, 'n\@example.com' AS em,
	       '203.0.113.7' AS client_ip_address, 'agent' AS client_user_agent FROM next.orders o\$q\$)", 'tenant');
foreach my $round (1 .. 3)
{
	my $began = time;
	my $id = $node->sql('INSERT INTO next.orders DEFAULT VALUES RETURNING id', 'tenant');

	ok($node->wait_for("SELECT status = 'delivered' FROM capi.delivery_status WHERE source = 'next' AND order_key = '$id'"),
		"P6: one slot, two roles, round $round: the one");
	cmp_ok(time - $began, '<', 10, 'P6: in time');
	delivered_in_time($node, 'and the other');
}

done_testing();
