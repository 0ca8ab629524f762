# An order that its query does not return is looked for again for a while: what
# another connection commits may not be there yet.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.missing_wait = '1h'");
$node->install_capi;
$node->sql('CREATE TABLE shop.buyers (order_id bigint, email text)', 'shop_owner');
$node->attach(query => q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, b.email AS em,
       'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent
  FROM shop.orders o JOIN shop.buyers b ON b.order_id = o.id});

my ($late, $never) = $node->place_orders(2);
$node->pay($late, $never);
ok($node->wait_for("SELECT count(*) = 2 FROM capi.backlog WHERE status = 'retrying' AND attempts = 0"
	  . " AND reason = 'not returned by the query'"), 'P10: it is looked for again, and says why');
$node->sql("INSERT INTO shop.buyers VALUES ($late, 'a\@example.com')", 'shop_owner');
ok($node->wait_for("SELECT status = 'delivered' FROM capi.delivery_status WHERE order_key = '$late'"),
	'P3: what came later is delivered');
is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$never'"), 'retrying',
	'what is not there waits');
$node->sql("UPDATE capi.backlog SET captured_at = captured_at - interval '59 min 58 sec', next_attempt_at = now()");
$node->reload;
ok($node->wait_for("SELECT status = 'ignored' AND reason = 'not returned by the query'"
	  . " FROM capi.delivery_status WHERE order_key = '$never'"), 'and is ignored in the end');

$node->stop;
done_testing();
