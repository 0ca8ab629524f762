# A refusal of consent stays as long as the order can be sent: whatever is
# captured again or redriven, however long ago it was said, and in a copy.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;
$node->sql(q{CREATE ROLE web LOGIN; SELECT capi.grant_access('web', 'writer')});

my ($refused, $regretted, $early) = $node->place_orders(3);

sub status_of
{
	my ($id, $on) = @_;

	return ($on // $node)->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$id'");
}

sub say_of
{
	my ($id, $consent) = @_;

	$node->sql("SELECT capi.set_context('$id', '{\"consent\": $consent, \"client_ip_address\": \"203.0.113.10\"}')",
		'web');
}

say_of($_, 'false') foreach $refused, $regretted, $early;
$node->pay($refused, $regretted);
$node->wait_until_idle;
is(status_of($refused), 'ignored|no consent', 'P4: no consent, no event');
is($node->sql('SELECT count(*) FROM capi.context WHERE key = ' . "'$refused'"), '0',
	'P7: the context went with the outcome');
$node->sql("SELECT capi.redrive(status => 'ignored')");
$node->wait_until_idle;
is(status_of($refused), 'ignored|no consent', 'P4: nor when it is redriven');
like($node->sql("SELECT detail FROM capi.explain_event('$refused') WHERE step = 'next'"), qr/holds until capi\.set_context\(\) tells consent: true\.$/, 'its story says so');
$node->sql("UPDATE shop.orders SET status = 'pending' WHERE id = $refused", 'shop_app');
$node->pay($refused);
$node->wait_until_idle;
is(status_of($refused), 'ignored|no consent', 'P4: nor when it is captured again');

# contexts are not kept for ever, the order comes late
$node->change('capi.context_retention' => '1min');
$node->sql("UPDATE capi.context SET set_at = now() - interval '1 day'");
$node->sql("UPDATE capi.consent SET said_at = said_at - interval '100 days'");
$node->sql("SELECT capi._tidy_consent(0)");
is($node->sql("SELECT count(*) FROM capi.consent WHERE key IN ('$refused', '$regretted')"), '2',
	'what an order that is known said stays, whatever room it takes');
$node->sql("DELETE FROM capi.context");
$node->sql("INSERT INTO capi.consent VALUES ('$early', 0, now() - interval '61 days', false)");
$node->sql("SELECT capi._tidy_consent(8192)");
$node->pay($early);
$node->wait_until_idle;
is(status_of($early), 'ignored|no consent', 'P4: nor long after it was said');

# the last word counts
say_of($regretted, 'true');
$node->sql("SELECT capi.redrive(status => 'ignored')");
$node->wait_until_idle;
is(status_of($regretted), 'delivered|', 'who consents later is reported');
is(status_of($refused), 'ignored|no consent', 'and nobody else');
say_of($regretted, 'true');
is($node->sql("SELECT count(*) FROM capi.consent WHERE key = '$regretted' AND given"), '1',
	'what is said again is noted once');
$node->sql("SELECT capi._tidy_consent(8192)");
is($node->sql("SELECT string_agg(given::text, ' ') FROM capi.consent WHERE key = '$regretted'"), 'true',
	'and what it took back goes');

# the history is forgotten, and what is missing then is queued again
my ($again) = $node->place_orders(1);
say_of($again, 'false');
$node->sql("SELECT capi.set_context('$again', '{\"consent\": false}', 'paid_orders')", 'shop_owner');
$node->pay($again);
$node->wait_until_idle;
$node->wait_for('SELECT count(*) = 0 FROM capi._unread') or die 'the cursor is not saved';
cmp_ok($node->sql("SELECT capi.forget_history('paid_orders')", 'shop_owner'), '>', 0, 'the history is forgotten');
$node->sql("CALL capi.backfill('paid_orders', now() - interval '1 day', now() + interval '1 minute')", 'shop_owner');
$node->wait_until_idle;
is(status_of($_), 'ignored|no consent', 'P4: nor when the history is forgotten, and it is queued again') foreach $refused, $again;

# somebody is at work on the table, the nightly REINDEX say
foreach my $case ([ 'capi.consent', 'SHARE' ], [ 'capi.consent', 'ACCESS EXCLUSIVE' ], [ 'capi.source', 'ACCESS EXCLUSIVE' ])
{
	my ($table, $mode) = @$case;
	my $session = $node->session;
	my ($beside, $other) = $node->place_orders(2);

	$session->sql("BEGIN; LOCK TABLE $table IN $mode MODE");
	say_of($beside, 'false');
	$node->sql("SELECT capi.set_context('$other', '{\"consent\": false}', 'paid_orders')", 'shop_owner');
	$session->sql('COMMIT');
	$session->quit;
	$node->pay($beside, $other);
	$node->wait_until_idle;
	is(status_of($_), 'ignored|no consent', "P4: nor when $table was locked as it was said") foreach $beside, $other;
	$node->sql('SELECT capi._tidy_consent(8192)');
	is($node->sql('SELECT count(*) FROM capi_reserve.consent'), '0', 'it finds its place later');
	$node->sql("SELECT capi.redrive(status => 'ignored', order_key => '$beside')");
	$node->wait_until_idle;
	is(status_of($beside), 'ignored|no consent', 'where it is found, too');
	say_of($beside, 'true');
	$node->sql("SELECT capi.redrive(status => 'ignored', order_key => '$beside')");
	$node->wait_until_idle;
	is(status_of($beside), 'delivered|', 'and is taken back');
}

# another source takes the place of the one that was named
my ($named) = $node->place_orders(1);
$node->sql("SELECT capi.set_context('$named', '{\"consent\": false}', 'paid_orders')", 'shop_owner');
$node->sql("SELECT capi.detach('paid_orders')", 'shop_owner');
$node->attach(source => 'sold_orders');
$node->pay($named);
$node->wait_until_idle;
is(status_of($named), 'ignored|no consent', 'P4: nor by a source that took the place of the one that was named');
$node->sql("SELECT capi.set_context('$named', '{\"consent\": true}', 'sold_orders')", 'shop_owner');
$node->sql("SELECT capi.redrive(status => 'ignored', order_key => '$named')");
$node->wait_until_idle;
is(status_of($named), 'delivered|', 'until consent is given');

# no room for contexts is no reason to forget a refusal
my ($full) = $node->place_orders(1);
$node->change('capi.context_size' => '1MB');
ok($node->wait_for("SELECT current_setting('capi.context_size') = '1MB'"), 'little room');
$node->sql("INSERT INTO capi.context (key, source_id, set_at, fields) SELECT 'x' || n, 0, now(), '{\"fbp\": \"fb.1.1.1\"}'"
	  . ' FROM generate_series(1, 20000) n; VACUUM capi.context');
say_of($full, 'false');
$node->pay($full);
$node->wait_until_idle;
is(status_of($full), 'ignored|no consent', 'P4: a refusal finds room where a context does not');

# a dump holds it
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('shop'), '-f', $dump ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', $dump ], 'restored');
is($node->in_database('copy')->sql("SELECT given FROM capi.consent WHERE key = '$refused'"), 'f',
	'P4: a restored database knows it');

$node->stop;
done_testing();
