# P3, P4: the server ran with a clock that was an hour, a day, forty days ahead, and
# is started again with one that is right.  Nothing waits until that time comes
# again, nothing is refused for it, and the last word about consent is the last.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::World;

my $sandbox = CapiTest::Sandbox->new;
my $world = CapiTest::World->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0,
	conf => "capi.poll_interval = '300ms'\ncapi.request_timeout = '2s'\ncapi.stats_interval = '1h'\ncapi.missing_wait = '20s'");

$world->start($node);
$node->create_shop;
$node->install_capi;
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'sandbox-token')");
my $query = "SELECT id AS key, paid_at AS event_time, total AS value, currency, email AS em FROM shop.orders";
$node->attach(query => $query);
$node->attach(source => 'held_orders', on_values => ['held'], hold => '8 s', query => $query);
$node->attach(source => 'absent_orders', on_values => ['absent'], query => "$query WHERE false");
$node->sql('CREATE TABLE shop.mended (x int)', 'shop_owner');
$node->attach(source => 'failing_orders', on_values => ['failing'], query => "SELECT id AS key, paid_at AS event_time,"
	  . " total AS value, currency, email AS em, CASE WHEN email LIKE 'bad%'"
	  . " THEN (1 / (SELECT count(*) FROM shop.mended WHERE x = id))::text END AS external_id FROM shop.orders");
$node->sql('CREATE TABLE shop.customers (id int PRIMARY KEY, email text); INSERT INTO shop.customers VALUES (1, \'ann@example.com\')', 'shop_owner');
$node->sql("SELECT capi.create_audience(name => 'buyers', dataset => 'main', audience_id => '777',"
	  . " query => 'SELECT id AS key, email AS em, true AS consent FROM shop.customers')", 'shop_owner');
$node->wait_for("SELECT state = 'ok' FROM capi.audience_status") or die;

sub order
{
	my ($status, $email) = @_;

	return $node->sql("INSERT INTO shop.orders (total, email, status, paid_at)"
		  . " VALUES (10, '$email', '$status', now()) RETURNING id", 'shop_app');
}

sub statuses
{
	return $node->sql("SELECT string_agg(DISTINCT source || ' ' || status || coalesce(' ' || reason, ''), ', ')"
		  . " FROM capi.delivery_status WHERE order_key = ANY ('{" . join(',', @_) . "}')");
}

sub consent
{
	my ($key, $given) = @_;

	$node->sql("SELECT capi.set_context('$key', '{\"consent\": $given, \"client_ip_address\": \"203.0.113." . ($given eq 'true' ? 1 : 2) . "\"}')", 'shop_owner');
	return;
}

# Times are compared with that of the start, so it does not matter how long the rest takes.
my $started;

sub restart
{
	my ($clock) = @_;

	$node->stop;
	$world->set(clock => $clock);
	$world->start($node);
	$started = "'" . $node->sql('SELECT pg_postmaster_start_time()') . "'::timestamptz";
	return;
}

my $n = 0;
foreach my $set ([ 'an hour', 3600 ], [ 'a day', 86400 ], [ 'forty days', 40 * 86400 ])
{
	my ($name, $ahead) = @$set;

	restart($ahead);
	$n++;

	# before anything fails, after which nothing is asked; what something else came
	# before is put off by a minute, but not beyond a new configuration
	my $asked = 'SELECT count(*) = 3 FROM capi.meta_ask';
	foreach (1 .. 60)
	{
		last if $node->wait_for($asked, 3);
		$node->sql('SELECT capi._config_changed()');
	}
	$node->wait_for($asked, 3) or die 'Meta is not asked';

	# they rest, are held, fail and are looked for; and two are not read yet
	$sandbox->misbehave(status => 503, times => undef);
	my @resting = map { order('paid', "resting$n$_\@example.com") } 1 .. 3;
	my @held = map { order('held', "held$n$_\@example.com") } 1 .. 2;
	my $failing = order('failing', "bad$n\@example.com");
	my $absent = order('absent', "absent$n\@example.com");
	$node->sql("SELECT capi.send('main', '{\"event_name\": \"Lead\", \"event_id\": \"lead-$n\", \"action_source\": \"website\","
		  . " \"event_source_url\": \"https://shop.example/\", \"user_data\": {\"em\": \"lead$n\@example.com\"}}', 'lead-$n')", 'shop_owner');
	$node->wait_for("SELECT count(*) = 8 FROM capi.delivery_status WHERE status IN ('retrying', 'held', 'queued')"
		  . " AND (status <> 'queued' OR event_id IS NOT NULL)", 20);
	consent("regretted-$n", 'true');
	$node->sql("SELECT capi.refresh_audience('buyers')", 'shop_owner');
	$node->wait_for("SELECT state = 'ok' AND last_refresh >= a.asked_at FROM capi.audience_status JOIN capi.audience a ON a.name = audience", 180) or die;
	$node->sql("UPDATE capi.meta_ask SET next_at = now() + interval '1 hour', asked_at = now()");
	$node->sql("ALTER SYSTEM SET capi.enabled = off");
	$node->reload;
	$node->wait_for("SELECT current_setting('capi.enabled') = 'off'") or die;
	my @unread = (order('paid', "unread$n\@example.com"), order('held', "later$n\@example.com"));
	$node->sql("INSERT INTO capi.dataset_state AS s (dataset_id, rest_until, throttled)"
		  . " SELECT id, now() + interval '5 s', true FROM capi.dataset"
		  . " ON CONFLICT (dataset_id) DO UPDATE SET rest_until = excluded.rest_until, throttled = true");
	$node->sql("ALTER SYSTEM RESET capi.enabled");
	$sandbox->behave;

	# what is said before anybody looks at the clock
	$node->append_conf('postgresql.conf', "capi.databases = 'elsewhere'");
	restart(0);
	consent("regretted-$n", 'false');
	$node->change('capi.databases' => $node->database);
	$node->sql("INSERT INTO shop.mended VALUES ($failing)", 'shop_owner');
	$node->sql("SELECT capi.refresh_audience('buyers')", 'shop_owner');
	my @after = map { order('paid', "after$n$_\@example.com") } 1 .. 2;
	$node->wait_until_idle(180);
	is(statuses(@resting, $unread[0], @after), 'paid_orders delivered', "$name: what rested, was unread, or came after");
	is(statuses(@held, $unread[1]), 'held_orders delivered', "$name: what was held");
	is(statuses($failing), 'failing_orders delivered', "$name: what the query failed for");
	like(statuses($absent), qr/^absent_orders ignored/, "$name: what was not there is given up");
	like(statuses("lead-$n"), qr/delivered$/, "$name: an event of capi.send()");
	is($node->sql("SELECT count(*) FROM capi.delivery WHERE event_time > now() + interval '2 minutes' AND outcome = 'delivered'"), 0,
		"$name: no event is told of a time to come");
	is($node->sql("SELECT given FROM capi.consent WHERE key = 'regretted-$n' ORDER BY said_at DESC LIMIT 1"), 'f',
		"$name: a refusal is later than the consent before it");
	is($node->sql("SELECT fields ->> 'client_ip_address' FROM capi.context WHERE key = 'regretted-$n' ORDER BY set_at DESC LIMIT 1"),
		'203.0.113.2', "$name: and so is its context");
	is($node->sql("SELECT count(*) FROM capi.context WHERE set_at > now() + interval '1 minute'"), 0,
		"$name: no context is kept longer for it");
	$node->sql('SELECT capi._config_changed()');
	# what something else came before is put off by a minute
	ok($node->wait_for("SELECT bool_and(asked_at BETWEEN $started AND now() AND next_at < now() + interval '25 hours')"
			  . " AND count(*) = 3 FROM capi.meta_ask", 180), "$name: Meta is asked again")
	  or diag($node->sql('TABLE capi.meta_ask'));
	ok($node->wait_for("SELECT state = 'ok' AND last_refresh BETWEEN $started AND now()"
			  . " AND last_refresh >= a.asked_at AND next_refresh > now() FROM capi.audience_status JOIN capi.audience a ON a.name = audience", 180),
		"$name: an audience is refreshed") or diag($node->sql('SELECT * FROM capi.audience_status'));
	is($node->sql("SELECT count(*) FROM capi.delivery WHERE finished_at BETWEEN $started AND now() AND key = ANY ('{"
			  . join(',', @after) . "}')"), 2, "$name: the log has a place for them");
}

done_testing();
