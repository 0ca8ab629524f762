# Custom audiences when things go wrong: lost answers, crashes, refusals, queries
# that do not run or hang.  Events go on all the while (P6).
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $true = JSON::PP::true();
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.request_timeout = '5s'\ncapi.poll_interval = '500ms'\ncapi.readers = 1");

sub members { return $sandbox->get('audiences?limit=0')->{audiences}{'777'}{members} // 0 }
sub users { return grep { $_->{call} eq 'users' } $sandbox->requests }

sub status_is
{
	my ($condition, $name) = @_;

	return ok($node->wait_for("SELECT $condition FROM capi.audience_status"), $name)
	  || diag($node->sql('SELECT * FROM capi.audience_status'));
}

sub refresh { return $node->sql("SELECT capi.refresh_audience('all')", 'shop_owner') }

$node->install_capi;
$node->attach;
$node->sql(q{
CREATE TABLE shop.customers (id int PRIMARY KEY, email text, consent boolean NOT NULL DEFAULT true);
INSERT INTO shop.customers SELECT n, format('c%s@example.com', n) FROM generate_series(1, 25000) n}, 'shop_owner');

# an answer is lost: the same people again, in the same session
$sandbox->misbehave(match => { call => 'users' }, cut => 'after', skip => 1);
$node->sql(q{SELECT capi.create_audience('all', 'main', '777',
    'SELECT id AS key, email AS em, consent FROM shop.customers')}, 'shop_owner');
status_is("state = 'ok' AND members = 25000 AND waiting = 0 AND added = 25000", 'a list of three requests');
is(members(), 25000, 'Meta has them all');
is(scalar users(), 4, 'one request was sent twice');
my @sessions = @{ $sandbox->get('audiences')->{audiences}{'777'}{sessions} };
is_deeply([ map { [ $_->{seq}, $_->{ended} ? 1 : 0 ] } @sessions ], [ [ 3, 1 ] ], 'in one session of three batches');

# the server crashes in the middle of a session
$sandbox->misbehave(match => { call => 'users' }, hang => $true, accept => $true, skip => 1);
$node->sql("UPDATE shop.customers SET consent = false WHERE id <= 15000", 'shop_owner');
refresh();
$sandbox->wait_for(hanging => 1);
$node->stop('immediate');
$sandbox->behave;
$sandbox->release;
$node->start;
status_is("state = 'ok' AND members = 10000 AND waiting = 0", 'after a crash the rest is removed');
is(members(), 10000, 'and Meta has who stays');

# who was to be added and is gone before, is never sent; unless his answer was lost
$sandbox->misbehave(match => { call => 'users' }, status => 400, code => 200, times => undef);
$node->sql("UPDATE shop.customers SET consent = true WHERE id <= 10", 'shop_owner');
refresh();
status_is("state = 'credential' AND waiting = 10 AND reason LIKE 'error 200: %'", 'a token without the right is a state');
my ($order) = $node->place_orders(1);
$node->pay($order);
$node->wait_until_idle;
is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$order'"), 'delivered', 'P6: events go on');
is($node->sql("SELECT state FROM capi.health"), 'ok', 'and the dataset knows nothing of it');
$node->sql("UPDATE shop.customers SET consent = false WHERE id <= 10", 'shop_owner');
refresh();
status_is("waiting = 10 OR waiting = 0", 'consent was withdrawn');
$sandbox->behave;
refresh();
status_is("state = 'ok' AND waiting = 0 AND members = 10000", 'it goes on when somebody says so');
is(members(), 10000, 'and nobody is there who did not consent');

# the query does not run any more: the list stays
$node->sql('ALTER TABLE shop.customers RENAME COLUMN email TO mail', 'shop_owner');
refresh();
status_is("state = 'broken' AND reason LIKE '%email%does not exist'", 'P2: a column that is gone is a state');
$node->sql('ALTER TABLE shop.customers RENAME COLUMN mail TO email', 'shop_owner');
$node->sql('ALTER TABLE shop.customers ALTER COLUMN consent TYPE text', 'shop_owner');
refresh();
status_is("state = 'broken' AND reason = 'consent has type text'", 'so is one of another type');
$node->sql('ALTER TABLE shop.customers ALTER COLUMN consent TYPE boolean USING consent::boolean', 'shop_owner');
$node->sql('ALTER TABLE shop.customers OWNER TO postgres; REVOKE ALL ON shop.customers FROM shop_owner');
refresh();
status_is("state = 'broken' AND reason LIKE 'permission denied for table customers'", 'so are rights that were revoked');
$node->sql('GRANT SELECT, UPDATE, INSERT ON shop.customers TO shop_owner');
$node->sql("SELECT capi.alter_audience('all', query =>"
	  . " 'SELECT email AS em, 1 / (id - 20000) > -9 AS consent FROM shop.customers')", 'shop_owner');
status_is("state = 'broken' AND reason = 'the query failed with SQLSTATE 22012'", 'of an error in the data the code is told');
is(members(), 10000, 'a list whose query does not run stays as it is');

# one that hangs holds up no order, of the same role and with one reader
$node->sql("SELECT capi.alter_audience('all', query =>"
	  . " 'SELECT email AS em, pg_sleep(60) IS NOT NULL AS consent FROM shop.customers')", 'shop_owner');
ok($node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), 'a query that hangs');
my @orders = $node->place_orders(20);
$node->pay(@orders);
ok($node->wait_for("SELECT count(*) = 20 FROM capi.delivery_status WHERE status = 'delivered'"
	  . " AND order_key IN ('" . join("', '", @orders) . "')"), 'P6: orders of the same role go on');
is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), '1', 'while it hangs');
$node->sql("SELECT capi.pause_audience('all')", 'shop_owner');
ok($node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), 'a paused audience is left');
$node->sql("SELECT capi.alter_audience('all', query => 'SELECT email AS em, consent FROM shop.customers WHERE false')", 'shop_owner');
$node->sql("SELECT capi.resume_audience('all')", 'shop_owner');
status_is("state = 'ok' AND members = 0 AND waiting = 0", 'a query for nobody empties the list');
is(members(), 0, 'at Meta, too');
$node->deliveries_ok('P3: every order');
done_testing();
