# P6, P12: old browser contexts go in bounded steps, not all in one transaction,
# and one that somebody holds keeps none of the others.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
$node->sql("INSERT INTO capi.context (key, source_id, set_at, fields)"
	  . " SELECT 'old-' || n, 0, now() - interval '30 days', '{}' FROM generate_series(1, 45000) n");
$node->sql("INSERT INTO capi.context (key, source_id, set_at, fields) VALUES ('new', 0, now(), '{}')");

# logs are maintained at the start
$node->restart;
my $holder = $node->session;
$holder->sql("BEGIN; SELECT FROM capi.context WHERE key = 'old-1' FOR UPDATE");
ok($node->wait_for('SELECT count(*) BETWEEN 20000 AND 26001 FROM capi.context'), 'P6: a part of them goes')
  or diag($node->sql('SELECT count(*) FROM capi.context'));
ok($node->wait_for("SELECT string_agg(key, ' ' ORDER BY key) IN ('new old-1', 'new') FROM capi.context", 60), 'P12: and the others soon after');
$holder->sql('COMMIT');
is($node->sql("SELECT count(*) FROM capi.context WHERE key = 'new'"), 1, 'a new one stays');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
$node->deliveries_ok('P3: and orders are delivered');
done_testing();
