# What looks at the shop's tables for advice is bounded, whatever a table or a
# function of a query does to the session that asks.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->sql(q{
CREATE FUNCTION shop.slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('shop.slow', true) = 'yes' THEN PERFORM pg_sleep(100); END IF;
    RETURN $1;
END $$;
CREATE FUNCTION shop.stubborn(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    WHILE current_setting('shop.stubborn', true) = 'yes' LOOP
        BEGIN
            PERFORM pg_sleep(100);
        EXCEPTION WHEN query_canceled THEN NULL;
        END;
    END LOOP;
    RETURN $1;
END $$}, 'shop_owner');
$node->attach(query => q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em,
       shop.slow('a') AS content_name, shop.stubborn('b') AS content_category FROM shop.orders o});
$node->pay($node->place_orders(3));
$node->wait_until_idle;

# Answer of a statement, in a session that gives it up after half a minute, and how long it took.
sub ask
{
	my ($set, $sql) = @_;
	my $begin = time;
	my ($out, $err);

	$node->psql('shop', "SET statement_timeout = '30s'; $set; $sql", stdout => \$out, stderr => \$err, on_error_die => 0, timeout => 60);
	return ($out, $err, time - $begin);
}

my ($out, $err, $took) = ask('', 'SELECT count(*) FROM capi.diagnose()');
cmp_ok($out, '>', 10, 'diagnose() looks');

my $other = $node->session(role => 'shop_owner');
$other->sql('BEGIN; LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE');
($out, $err, $took) = ask('', 'SELECT count(*) FROM capi.diagnose()');
cmp_ok($out || 0, '>', 10, 'P6: a table that is locked: diagnose() answers') or diag($err);
cmp_ok($took, '<', 15, 'and soon');
$other->sql('ROLLBACK');

($out, $err, $took) = ask("SET shop.slow = 'yes'", 'SELECT count(*) FROM capi.diagnose()');
cmp_ok($out || 0, '>', 10, 'a function that the planner calls, and that sleeps') or diag($err);
cmp_ok($took, '<', 15, 'is left alone soon');

($out, $err, $took) = ask("SET shop.stubborn = 'yes'", 'SELECT count(*) FROM capi.diagnose()');
cmp_ok($took, '<', 25, 'one that traps its cancel ends the session, at last');
like($err, qr/terminating connection/, 'with a word');
is($node->sql('SELECT 1'), 1, 'and no other');

done_testing();
