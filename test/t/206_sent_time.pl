# P5: an order that was sent keeps its time, whatever its query says later: not
# when it does not return the order for a while, nor when it gives an earlier time.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.missing_wait = '10min'\ncapi.poll_interval = '200ms'");

$node->install_capi;
$node->attach(query => "SELECT id AS key, paid_at AS event_time, total AS value, currency, email AS em FROM shop.orders WHERE email <> 'gone'");

# Sent, with an answer that does not tell what became of it.
$sandbox->misbehave(status => 503, times => undef);
my ($id) = $node->place_orders(1);
$node->pay($id);
$node->wait_for("SELECT attempts > 0 FROM capi.backlog WHERE key = '$id'") or die;
my $time = $node->sql("SELECT event_time FROM capi.backlog WHERE key = '$id'");
my $email = $node->sql("SELECT email FROM shop.orders WHERE id = $id");
like($time, qr/^20/, 'it was sent with a time');

$node->sql("UPDATE shop.orders SET email = 'gone' WHERE id = $id", 'shop_app');
$sandbox->behave;
ok($node->wait_for("SELECT status = 'retrying' AND reason = 'not returned by the query' FROM capi.backlog WHERE key = '$id'", 60),
	'then its query does not return it') or diag($node->sql("SELECT status, reason FROM capi.backlog"));
is($node->sql("SELECT event_time FROM capi.backlog WHERE key = '$id'"), $time, 'it has its time still');

$node->sql("UPDATE shop.orders SET email = '$email', paid_at = paid_at - interval '1 hour' WHERE id = $id", 'shop_app');
$node->sql("UPDATE capi.backlog SET next_attempt_at = now() WHERE key = '$id'; SELECT capi._config_changed()");
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery WHERE key = '$id' AND outcome = 'delivered'", 60), 'it is sent again when it is there');
is($node->sql("SELECT event_time FROM capi.delivery WHERE key = '$id'"), $time, 'with the same time');

done_testing();
