# Locks of others on what is capi's: whoever has no right on it cannot make the
# dispatcher wait, and who drops the extension is not waited for, nor kept out.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time usleep);

use lib 'test/perl';
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;
$node->sql('CREATE ROLE nobody_at_all LOGIN');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
my $pid = $node->dispatcher_pid;
my $log = $node->log_size;

# --- a lock on the extension that anybody can take ---------------------------

my $nobody = $node->session(role => 'nobody_at_all');
$nobody->sql(q{
BEGIN;
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION pg_temp.f() DEPENDS ON EXTENSION capi});
is($node->sql("SELECT mode FROM pg_locks WHERE locktype = 'object'"
	  . " AND classid = 'pg_extension'::regclass AND granted"),
	'AccessExclusiveLock', 'a role without any right holds a lock on the extension');
$node->pay($node->place_orders(10));
ok($node->wait_until_idle(20), 'P6: the dispatcher does not wait for it');
$node->deliveries_ok('P3: while it is held');
$nobody->sql('ROLLBACK');

# --- DROP EXTENSION that takes its time --------------------------------------

my $owner = $node->session;
$owner->sql('BEGIN');
$owner->sql('SET client_min_messages = error; DROP EXTENSION capi CASCADE');
ok($node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $pid"
	  . " AND query = 'capi: waiting for a transaction that drops the extension'"),
	'the dispatcher says what it waits for');
is($node->sql("SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype IN ('object', 'relation')"
	  . " AND NOT granted"), 0, 'P12: and waits in no queue of locks');
$owner->sql('ROLLBACK');
$node->pay($node->place_orders(10));
$node->wait_until_idle;
$node->deliveries_ok('P3: after DROP EXTENSION was rolled back');
is($node->dispatcher_pid, $pid, 'P12: it is the same dispatcher all the while');
unlike($node->log_since($log), qr/ERROR|FATAL/, 'and nothing of it is an error');

# --- an aborted transaction, and who is the sender ---------------------------

$owner->sql('BEGIN');
$owner->sql('LOCK TABLE capi.direct_event');
$node->sql("SELECT pg_terminate_backend($pid)");
$pid = $node->dispatcher_pid($pid);
ok($node->wait_for("SELECT count(*) = 2 FROM pg_locks WHERE pid = $pid AND locktype = 'userlock'"),
	'the dispatcher is the sender');
$log = $node->log_size;
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->deliveries_ok('P6: while a table that is maintained is locked');
$node->pay($node->place_orders(3));
$node->wait_until_idle;
is($node->dispatcher_pid, $pid, 'P6: maintenance that could not be done is put off');
is($node->sql("SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype = 'userlock'"),
	2, 'P5: after it was given up the dispatcher is still the only sender');
like($node->refuses('CALL capi.deliver()'), qr/another process is already delivering/,
	'P5: another is refused');
$owner->sql('ROLLBACK');

# --- DROP EXTENSION under load -----------------------------------------------

my $began = time;
my @ids = $node->place_orders(5000);
$node->pay(@ids);
$node->sql('SET client_min_messages = error; DROP EXTENSION capi CASCADE');
cmp_ok(time - $began, '<', 10, 'P12: DROP EXTENSION works while orders are delivered');
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'"),
	'P12: and the dispatcher ends');

$node->stop;
done_testing();
