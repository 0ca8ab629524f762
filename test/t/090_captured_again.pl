# An order that was ignored and is captured again: looked at again, whatever
# moment the two captures fall into, shown once and sent once.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
# fires for a placed order, too, which its query then does not want
my $query = q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em,
       'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent,
       CASE WHEN o.status <> 'paid' THEN 'unpaid' END AS ignore_reason
  FROM shop.orders o};
$node->attach(on_values => [ 'placed', 'paid' ], query => $query);

sub rows_of
{
	my ($id) = @_;

	return $node->sql("SELECT string_agg(concat_ws(' ', status, reason), ', ') FROM capi.delivery_status"
		  . " WHERE source = 'paid_orders' AND order_key = '$id'");
}

# a procedure that commits in between: both have one statement's time
$node->sql(q{
CREATE PROCEDURE place_and_pay(order_id bigint) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE shop.orders SET status = 'placed' WHERE id = order_id;
	COMMIT;
	FOR i IN 1 .. 600 LOOP
		EXIT WHEN EXISTS (SELECT FROM capi.delivery d WHERE d.key = order_id::text);
		PERFORM pg_sleep(0.1);
		COMMIT;
	END LOOP;
	UPDATE shop.orders SET status = 'paid', paid_at = clock_timestamp() WHERE id = order_id;
	COMMIT;
END $$});
my ($id) = $node->place_orders(1);
$node->sql("CALL place_and_pay($id)");
$node->wait_until_idle;
is(rows_of($id), 'delivered', 'P5: ignored, then paid, within one statement');

# captured again while the reader still looks at what it was before
$node->sql(q{CREATE TABLE shop.leads (id int PRIMARY KEY, email text);
	GRANT INSERT ON shop.leads TO shop_app}, 'shop_owner');
$node->attach(source => 'leads', table_name => 'shop.leads', event_name => 'Lead',
	on_column => undef, on_values => undef,
	query => q{SELECT id AS key, now() AS event_time, email AS em, 'https://shop.example/' AS event_source_url,
		'test agent' AS client_user_agent FROM shop.leads});
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$"
	  . $query . ' CROSS JOIN (SELECT pg_advisory_xact_lock_shared(4711)) AS wait $q$)', 'shop_owner');
my $lead = 0;

# Whatever was captured before has been read from the queue when this returns.
sub wait_until_read
{
	$lead++;
	$node->sql("INSERT INTO shop.leads VALUES ($lead, 'a\@example.com')", 'shop_app');
	ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE source = 'leads'"
		  . " AND order_key = '$lead' AND status = 'delivered'"), "lead $lead has passed");
}

foreach my $wait (0, 1)
{
	my $name = $wait ? 'from the backlog' : 'from the queue';
	my ($again) = $node->place_orders(1);
	my $holder = $node->session;

	$node->sql("SELECT capi.pause('paid_orders')") if $wait;
	$node->sql("UPDATE shop.orders SET status = 'placed' WHERE id = $again", 'shop_app')
	  if $wait;
	ok($node->wait_for("SELECT count(*) = 1 FROM capi.backlog WHERE key = '$again'"), 'it waits') if $wait;
	$holder->sql('SELECT pg_advisory_lock(4711)');
	$node->sql("SELECT capi.resume('paid_orders')") if $wait;
	$node->sql("UPDATE shop.orders SET status = 'placed' WHERE id = $again", 'shop_app')
	  unless $wait;
	ok($node->wait_for("SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
		'a reader has begun');
	$node->pay($again);
	wait_until_read();
	$holder->sql('SELECT pg_advisory_unlock(4711)');
	$holder->quit;
	$node->wait_until_idle;
	is(rows_of($again), 'delivered', "P5: ignored as it was paid meanwhile, $name");
}
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$" . $query . '$q$)', 'shop_owner');

# ignored, captured again, and then it waits: one row, and sent once
my ($late) = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET status = 'placed' WHERE id = $late", 'shop_app');
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery WHERE key = '$late'"), 'it is ignored');
$node->sql("SELECT capi.pause('paid_orders')");
$node->pay($late);
ok($node->wait_for("SELECT count(*) = 1 FROM capi.backlog WHERE key = '$late'"), 'it waits');
like(rows_of($late), qr/^queued [^,]*$/, 'P10: it is shown once while it waits');
$node->sql("SELECT capi.resume('paid_orders')");
$node->wait_until_idle;
is(rows_of($late), 'delivered', 'P10: and once when it is delivered');
is($node->sql("SELECT capi.redrive(source => 'paid_orders', status => 'ignored')"), '0',
	'P5: nothing of it is left to be sent again');
$node->wait_until_idle;

# what an earlier version left behind is not sent again either
$node->sql("INSERT INTO capi.delivery (finished_at, captured_at, source_id, attempts, outcome, key, reason)"
	  . " SELECT now(), now(), source_id, 0, 'ignored', key, 'unpaid' FROM capi.delivery WHERE key = '$late'");
is($node->sql("SELECT capi.redrive(source => 'paid_orders', status => 'ignored')"), '0',
	'P5: an order with two rows, one of them delivered, is not redriven');
$node->wait_until_idle;
is(scalar(grep { $_->{count} > 1 } @{ $node->_received_rows }), 0, 'P5: no event came twice');

$node->stop;
done_testing();
