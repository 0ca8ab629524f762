# P5 P10: numbers of a table began again, and before the dispatcher knew it the
# database became a copy: the note is kept, and counts no miss.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
$node->pay($node->place_orders(2));
$node->wait_until_idle;
$node->change('capi.enabled' => 'off');
$node->wait_for("SELECT state = 'disabled' FROM capi.health") or die;
$node->sql('TRUNCATE shop.orders RESTART IDENTITY', 'shop_owner');
$node->sql(q{
INSERT INTO capi.queue_1 SELECT pg_current_xact_id(), now(), id, 7, NULL FROM capi.source;
UPDATE capi.source SET missed_captures = 3;
UPDATE capi.state SET system_identifier = 'another';
SELECT capi.confirm_identity()});
is($node->sql('SELECT missed_captures FROM capi.source_status'), 10, 'P10: what was missed is counted, and nothing else');
like($node->sql('SELECT state, reason FROM capi.source_status'), qr/^active\|numbers of the table began again/,
	'P10: that numbers began again is said');

# a log that knows none of its orders takes none for an old one
$node->sql("SELECT capi.forget_history('paid_orders')", 'shop_owner');
$node->sql('TRUNCATE shop.orders RESTART IDENTITY', 'shop_owner');
$node->sql("UPDATE capi.state SET system_identifier = 'another'; SELECT capi.confirm_identity()");
is($node->sql('SELECT missed_captures, reason FROM capi.source_status'), '10|', 'P10: not of a source without a history');

done_testing();
