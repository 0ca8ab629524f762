# A source gets another dataset, a dataset is dropped: what waits for the old one
# goes to the new one, or keeps the old one from being dropped.  Nothing waits
# for what nobody sends to.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.request_timeout = '1s'");
$node->install_capi;
$node->create_dataset(name => 'second', dataset_id => '2234567890');
$node->attach;

sub row_of
{
	my ($id) = @_;

	return $node->sql("SELECT dataset, status FROM capi.delivery_status WHERE order_key = '$id'");
}

sub waits
{
	my ($id) = @_;

	return ok($node->wait_for("SELECT count(*) = 1 FROM capi.backlog WHERE key = '$id'"), "order $id waits");
}

# untried: follows the source
my ($paused) = $node->place_orders(1);
$node->sql("SELECT capi.pause_dataset('main')");
$node->pay($paused);
waits($paused);
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'second')", 'shop_owner');
$node->wait_until_idle;
is(row_of($paused), 'second|delivered', 'P3: what waited for the old dataset goes to the new one');
$node->sql("SELECT capi.resume_dataset('main')");
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'main')", 'shop_owner');

# on its way while the source is changed, and put back after it
my ($late) = $node->place_orders(1);
$node->change('capi.linger' => '5min');
ok($node->wait_for("SELECT current_setting('capi.linger') = '5min'"), 'a long linger time');
my $before = $node->sql('SELECT clock_timestamp()');
$node->pay($late);
ok($node->wait_for("SELECT coalesce(bool_or(state = 'idle' AND state_change > '$before'), false)"
	  . " FROM pg_stat_activity WHERE backend_type = 'capi reader'"), 'a reader has read it');
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'second')", 'shop_owner');
$node->sql("SELECT capi.pause_dataset('main')");
$node->change('capi.linger' => '5ms');
$node->wait_until_idle(20);
is(row_of($late), 'second|delivered', 'P3: also what was in a batch of the old one');
$node->sql("SELECT capi.resume_dataset('main')");
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'main')", 'shop_owner');

# refused with the token: Meta did not take it
my ($refused) = $node->place_orders(1);
$sandbox->post('tokens', { revoke => ['sandbox-token'], add => ['second-token'] });
$node->pay($refused);
ok($node->wait_for("SELECT state = 'credential' FROM capi.health WHERE dataset = 'main'"), 'the token is dead');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('second', 'second-token')");
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'second')", 'shop_owner');
$node->wait_until_idle;
is(row_of($refused), 'second|delivered', 'P3: also what the old one refused for its token');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'second-token')");
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'main')", 'shop_owner');

# Meta may have it: stays, and keeps the dataset from being dropped
my ($tried) = $node->place_orders(1);
$sandbox->misbehave(match => { event_id => "$tried" }, status => 503, times => undef);
$node->pay($tried);
ok($node->wait_for("SELECT count(*) = 1 FROM capi.backlog WHERE key = '$tried' AND attempts > 0"), 'it was tried');
$node->sql("SELECT capi.alter_source('paid_orders', dataset => 'second')", 'shop_owner');
like(row_of($tried), qr/^main\|/, 'P5: an event that Meta may have stays with its dataset');
like($node->refuses("SELECT capi.drop_dataset('main')"), qr/2BP01: events wait for dataset "main"/,
	'which is not dropped while it waits');
is($node->sql("SELECT queued + retrying FROM capi.health WHERE dataset = 'main'"), '1', 'and says so');
$node->sql("SELECT capi.drop_dataset('main', move_to => 'second')");
$sandbox->behave;
$node->wait_until_idle;
is(row_of($tried), 'second|delivered', 'P3: somebody says where it shall go');

# named by the query, and then dropped
$node->create_dataset(name => 'third', dataset_id => '3234567890', access_token => 'second-token');
my $usual = $node->sql("SELECT query FROM capi.source WHERE name = 'paid_orders'");
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$"
	  . $usual =~ s/SELECT o.id AS key/SELECT o.id AS key, 'third' AS dataset/r . '$q$)', 'shop_owner');
$node->sql("SELECT capi.pause_dataset('third')");
my ($routed) = $node->place_orders(1);
$node->pay($routed);
waits($routed);
like(row_of($routed), qr/^third\|queued/, 'the query sends it elsewhere');
like($node->refuses("SELECT capi.drop_dataset('third')"), qr/2BP01/, 'that one is not dropped either');
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$$usual\$q\$)", 'shop_owner');
$node->sql("SELECT capi.drop_dataset('third', move_to => 'second')");
$node->wait_until_idle;
is(row_of($routed), 'second|delivered', 'until somebody says where its events shall go');

# what an earlier version left
my ($left) = $node->place_orders(1);
$node->sql("INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)"
	  . " SELECT s.id, '$left', d.id, 'queued', now(), now() FROM capi.source s, capi.dataset d"
	  . " WHERE s.name = 'paid_orders' AND d.name = 'third'; "
	  . "UPDATE shop.orders SET paid_at = now() WHERE id = $left");
$node->reload;
$node->wait_until_idle;
is(row_of($left), 'second|delivered', 'P3: a row whose dataset is gone goes to that of its source');

# a hold that is made shorter
$node->sql("SELECT capi.alter_source('paid_orders', hold => '6 days')", 'shop_owner');
my ($held) = $node->place_orders(1);
$node->pay($held);
$node->wait_for("SELECT status = 'held' FROM capi.delivery_status WHERE order_key = '$held'") or die;
$node->sql("SELECT capi.alter_source('paid_orders', hold => '0')", 'shop_owner');
ok($node->wait_for("SELECT status = 'delivered' FROM capi.delivery_status WHERE order_key = '$held'", 20),
	'what is held waits for the hold of today');

$node->stop;
done_testing();
