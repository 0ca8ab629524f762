# What becomes of events when the endpoint fails, refuses or throttles.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.request_timeout = '1s'\ncapi.poll_interval = '500ms'");
$node->install_capi;
$node->attach;

# transient: the same event again
foreach my $plan ([ 'a 503', status => 503 ], [ 'garbage', garbage => JSON::PP::true() ],
	[ 'code 2', status => 500, code => 2, is_transient => JSON::PP::true() ],
	[ 'a cut before', cut => 'before' ])
{
	my ($name, %plan) = @$plan;
	my @ids = $node->place_orders(3);

	$sandbox->misbehave(%plan);
	$node->pay(@ids);
	ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE status IN ('retrying', 'delivered')"
		  . " AND attempts > 0 AND order_key IN ('" . join("', '", @ids) . "')"),
		"after $name the events are tried again");
	$node->wait_until_idle;
	$node->deliveries_ok("P3: $name");
	# a request whose kept connection ends without an answer libcurl itself
	# repeats on a new one, and we do not get to know
	my $attempts = $name eq 'a cut before' ? qr/^([12])\|\1$/ : qr/^2\|2$/;
	like($node->sql("SELECT min(attempts), max(attempts) FROM capi.delivery_status WHERE order_key IN ('"
			. join("', '", @ids) . "')"), $attempts, "two attempts after $name");
}

# a timeout is an unknown outcome: repeated with the same id, name and time (P5)
my @hung = $node->place_orders(2);
$sandbox->misbehave(hang => JSON::PP::true(), accept => JSON::PP::true());
$node->pay(@hung);
$node->wait_until_idle;
$node->deliveries_ok('P5: timeout', max_repeats => 2);
$sandbox->release;

# a dead token: the dataset pauses, its events wait, and go on by themselves (P6)
$sandbox->post('tokens', { revoke => ['sandbox-token'], add => ['second-token'] });
my @waiting = $node->place_orders(5);
$node->pay(@waiting);
ok($node->wait_for("SELECT state = 'credential' FROM capi.health"), 'P6: the dataset says credential');
is($node->sql("SELECT queued + retrying FROM capi.health"), '5', 'P3: its events wait');
like($node->sql("SELECT reason FROM capi.health"), qr/190/, 'the reason names the code');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'second-token')");
$node->wait_until_idle;
$node->deliveries_ok('P3: after the token was replaced', max_repeats => 2);
ok($node->wait_for("SELECT state = 'ok' FROM capi.health"), 'the dataset is active again');

# one bad event among good ones (P6)
my @mixed = $node->place_orders(20);
$sandbox->misbehave(match => { event_id => "$mixed[7]" }, status => 400, code => 100,
	subcode => 2804008, times => undef);
$node->pay(@mixed);
$node->wait_until_idle;
is($node->sql("SELECT status, error_code, error_subcode FROM capi.delivery_status WHERE order_key = '$mixed[7]'"),
	'rejected|100|2804008', 'P6: the bad event is rejected with code and subcode');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @mixed) . "')"), '19', 'P6: the good ones are delivered');

# a broken query stops nobody else; its events wait and go on (P2, P6)
$sandbox->behave;
$node->sql('ALTER TABLE shop.orders RENAME COLUMN email TO mail');
$node->sql("INSERT INTO shop.orders (total, mail, status, paid_at) VALUES (5, 'x\@example.com', 'paid', now())");
ok($node->wait_for("SELECT state = 'broken' FROM capi.source_status"), 'P2: the source is broken');
like($node->sql("SELECT reason FROM capi.source_status"), qr/email/, 'P2: the reason names the column');
is($node->sql("SELECT status FROM capi.delivery_status ORDER BY captured_at DESC LIMIT 1"), 'queued',
	'P2: its event waits');
like($node->refuses('CALL capi.deliver()'), qr/ERROR:  55006: another process/,
	'P5: a dispatcher whose query failed is still the only sender');
$node->sql('ALTER TABLE shop.orders RENAME COLUMN mail TO email');
$node->wait_until_idle;
is($node->sql("SELECT state FROM capi.source_status"), 'active', 'P2: and works again by itself');

# an order whose own data makes the query fail stops nobody else either, and is
# not tried for ever (P6)
my @sound = $node->place_orders(9);
my ($sick, $curable) = splice @sound, 3, 2;
my $usual = $node->sql("SELECT query FROM capi.source WHERE name = 'paid_orders'");
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$"
	  . $usual =~ s/SELECT o.id AS key/SELECT o.id AS key, (1 \/ ((o.id - $sick) * (o.id - $curable)))::text AS subscription_id/r
	  . '$q$)', 'shop_owner');
$node->pay(@sound, $sick, $curable);
ok($node->wait_for("SELECT count(*) = 7 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @sound) . "')"), 'P6: others are delivered beside an order whose data the query cannot take');
is($node->sql("SELECT status, reason ~ 'SQLSTATE 22012' FROM capi.delivery_status WHERE order_key = '$sick'"),
	'retrying|t', 'P6: it waits and says why');
is($node->sql('SELECT state FROM capi.source_status'), 'active', 'P6: the source is not broken');
$node->sql("UPDATE capi.backlog SET captured_at = now() - interval '63 days', next_attempt_at = now() WHERE key = '$sick'");
$node->reload;
ok($node->wait_for("SELECT status = 'expired' AND reason = 'too_old' FROM capi.delivery_status WHERE order_key = '$sick'"),
	'P6: until nothing of its age can be sent');
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$$usual\$q\$)", 'shop_owner');
$node->sql("UPDATE capi.backlog SET next_attempt_at = now() WHERE key = '$curable'");
$node->reload;
$node->wait_until_idle;
is($node->sql("SELECT status, event_time > now() - interval '1 day' FROM capi.delivery_status WHERE order_key = '$curable'"),
	'delivered|t', 'P3: and is delivered with its own time when the query can take it');

done_testing();
