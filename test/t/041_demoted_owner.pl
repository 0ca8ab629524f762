# P9: capi's tables are written as the owner of the extension, also by the
# dispatcher.  An owner who is no superuser any more can put his own code on his
# tables; it runs with his rights, and cannot take others.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(usleep);

use lib 'test/perl';
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->sql('CREATE ROLE former SUPERUSER LOGIN');
$node->sql('CREATE EXTENSION capi', 'former');
$node->sql("SELECT capi.grant_access('shop_owner', 'admin')");
$node->create_dataset;
$node->attach;
$node->pay($node->place_orders(1));
$node->wait_until_idle;
$node->sql('ALTER ROLE former NOSUPERUSER');

# --- everything the dispatcher does, without a superuser's rights ------------

my $token = $node->basedir . '/token';
PostgreSQL::Test::Utils::append_to_file($token, $CapiTest::Node::TOKEN . "\n");
$node->sql("SELECT capi.alter_dataset('main', access_token_file => '$token')");
# partitions are missing at the start, and segments have to be emptied
$node->sql(q{
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'capi.request'::regclass LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END $$}, 'former');
$node->sql("SELECT capi._add_partition('request', now() - interval '201 days', now() - interval '200 days')", 'former');
# nor does a superuser's event trigger keep them from being made and dropped
$node->sql(q{
CREATE SCHEMA seen;
CREATE TABLE seen.who (what text, who text, as_superuser boolean);
GRANT USAGE ON SCHEMA seen TO PUBLIC;
GRANT INSERT ON seen.who TO PUBLIC;
CREATE FUNCTION seen.note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen.who VALUES ('ddl', current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user));
END $$;
CREATE FUNCTION seen.delay_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(1000);
END $$;
CREATE FUNCTION seen.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'no commands here';
END $$;
CREATE EVENT TRIGGER note_ddl ON ddl_command_end EXECUTE FUNCTION seen.note_ddl();
CREATE EVENT TRIGGER delay_ddl ON sql_drop EXECUTE FUNCTION seen.delay_ddl();
CREATE EVENT TRIGGER refuse_ddl ON ddl_command_start EXECUTE FUNCTION seen.refuse_ddl()});
my $log = $node->log_size;
my $pid = $node->dispatcher_pid;
$node->sql("SELECT pg_terminate_backend($pid)");
$pid = $node->dispatcher_pid($pid);
$node->pay($node->place_orders(10));
# enough for a segment to be left, and none of them sent
$node->sql(q{
INSERT INTO shop.orders (status, total, email, is_test, paid_at)
SELECT 'paid', 1, 'test@example.com', true, now() FROM generate_series(1, 40000)}, 'shop_app');
$node->wait_until_idle(120);
$node->deliveries_ok('P9: the owner is no superuser');
cmp_ok($node->sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'capi.request'::regclass"),
	'>', 0, 'partitions are made');
ok($node->wait_for("SELECT max(pg_relation_size(oid)) < 2000000 FROM pg_class WHERE relname ~ '^queue_'"),
	'segments are emptied');
ok($node->wait_for("SELECT count(*) = 0 FROM pg_inherits WHERE inhparent = 'capi.request'::regclass"
	  . " AND capi._bound(inhrelid, 2) < now() - interval '100 days'"), 'old ones are dropped');
is($node->sql("SELECT count(*) FROM seen.who"), 0, 'P13: no event trigger runs in the dispatcher');
$node->sql("DROP EVENT TRIGGER $_") foreach qw(note_ddl refuse_ddl delay_ddl);
unlike($node->log_since($log), qr/ERROR|FATAL(?!:  terminating)/, 'without an error');
is($node->dispatcher_pid, $pid, 'by one dispatcher');

# --- code of his on his tables -----------------------------------------------

$node->sql('CREATE SCHEMA his AUTHORIZATION former');
$node->sql(q{
CREATE FUNCTION his.climb(what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    attempt text;
BEGIN
    INSERT INTO seen.who
    SELECT what, current_user, rolsuper FROM pg_roles WHERE rolname = current_user;
    FOREACH attempt IN ARRAY ARRAY[
        'RESET SESSION AUTHORIZATION', 'RESET ROLE', 'SET ROLE NONE',
        'SET SESSION AUTHORIZATION ' || quote_ident((SELECT rolname FROM pg_roles WHERE oid = 10)),
        'SET ROLE ' || quote_ident((SELECT rolname FROM pg_roles WHERE oid = 10)),
        'ALTER ROLE former SUPERUSER'] LOOP
        BEGIN
            EXECUTE attempt;
            EXECUTE 'ALTER ROLE former SUPERUSER';
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END $$;
CREATE FUNCTION his.on_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM his.climb(substring(TG_TABLE_NAME from '^[a-z]+'));
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER climb BEFORE INSERT OR UPDATE OR DELETE ON capi.backlog
    FOR EACH ROW EXECUTE FUNCTION his.on_row();
CREATE TRIGGER climb AFTER INSERT ON capi.request
    FOR EACH ROW EXECUTE FUNCTION his.on_row();
CREATE TRIGGER climb AFTER UPDATE ON capi.state
    FOR EACH ROW EXECUTE FUNCTION his.on_row();
CREATE TRIGGER climb BEFORE UPDATE ON capi.dataset
    FOR EACH ROW EXECUTE FUNCTION his.on_row();
CREATE TRIGGER climb BEFORE TRUNCATE ON capi.queue_0
    FOR EACH STATEMENT EXECUTE FUNCTION his.on_row();
-- an index of his on the log, whose rows are written without the executor
CREATE FUNCTION his.in_index(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RAISE LOG 'index of the log computed as %', current_user;
    RETURN $1;
END $$;
SELECT format('CREATE INDEX ON %s (his.in_index(key))', inhrelid::regclass)
  FROM pg_inherits WHERE inhparent = 'capi.delivery'::regclass \gexec
}, 'former');
$log = $node->log_size;
# a dataset that rests, so that events come to the backlog
$sandbox->misbehave(status => 500, times => 1);
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->deliveries_ok('P6: with triggers of the owner');
ok($node->wait_for("SELECT count(DISTINCT what) = 3 FROM seen.who WHERE what IN ('backlog', 'request', 'state')"),
	'they ran');
is($node->sql("SELECT string_agg(DISTINCT who, ' ') FROM seen.who"), 'former', 'P9: as the owner');
is($node->sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'former'"), 'f', 'P9: who is no superuser');
like($node->log_since($log), qr/index of the log computed as former/, 'P9: so is an index of his');
unlike($node->log_since($log), qr/computed as (?!former)/, 'P9: always');

# --- the same by a session and by functions ----------------------------------

$node->change('capi.enabled' => 'off');
$node->sql('DELETE FROM seen.who');
$node->sql("SELECT capi.pause_dataset('main')");
$node->sql("SELECT capi.resume_dataset('main')");
is($node->sql("SELECT string_agg(DISTINCT who, ' ') FROM seen.who"), 'former',
	'P9: functions that a superuser calls');

# a deferred trigger would run at the commit, as whoever commits
$node->sql(q{
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON capi.dataset DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION his.on_row()}, 'former');
$node->sql('DELETE FROM seen.who');
like($node->refuses("SELECT capi.pause_dataset('main')"),
	qr/cannot fire deferred trigger within security-restricted operation/,
	'P9: a deferred trigger is refused');
is($node->sql('SELECT count(*) FROM seen.who'), 0, 'P9: and does not run');
$node->sql('DROP TRIGGER late ON capi.dataset', 'former');
$node->change('capi.enabled' => 'on');

# --- row security on his tables ----------------------------------------------

$node->sql(q{
ALTER TABLE capi.backlog ENABLE ROW LEVEL SECURITY;
ALTER TABLE capi.backlog FORCE ROW LEVEL SECURITY}, 'former');
$log = $node->log_size;
$sandbox->misbehave(status => 500, times => 1);
$node->pay($node->place_orders(3));
ok(wait_for_log($log,
		qr/query would be affected by row-level security policy for table "backlog"/),
	'P3: rows that row security hides are missed, not forgotten');
$node->sql('ALTER TABLE capi.backlog DISABLE ROW LEVEL SECURITY', 'former');
$node->wait_until_idle(120);
$node->deliveries_ok('P3: after it was disabled', max_repeats => 3);

sub wait_for_log
{
	my ($from, $what) = @_;

	for (1 .. 600)
	{
		return 1 if $node->log_since($from) =~ $what;
		usleep(100_000);
	}
	return 0;
}

$node->stop;
done_testing();
