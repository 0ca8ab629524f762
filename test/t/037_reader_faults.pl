# P6, P7, P13: whatever a source's query does, other orders and other sources go
# on, the server stays up, and nothing of what the query says gets out.
# slow
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $LIMIT_S = 2;
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => qq{
capi.query_timeout = '${LIMIT_S}s'
capi.reader_memory = '128MB'
max_worker_processes = 20
log_min_messages = debug1
});
my $columns = q{b.id AS key, b.at AS event_time, 10 AS value, 'EUR' AS currency, b.id AS order_id,
       'bad-' || b.id AS event_id, '203.0.113.7' AS client_ip_address, 'test agent' AS client_user_agent};

$node->install_capi;
$node->attach;
$node->sql('CREATE ROLE tenant LOGIN; CREATE SCHEMA bad AUTHORIZATION tenant; CREATE EXTENSION dblink;
	CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO tenant;
	GRANT USAGE ON SCHEMA bad TO shop_app');
$node->sql("SELECT capi.grant_access('tenant', 'admin')");
$node->sql('CREATE TABLE bad.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, note text, at timestamptz DEFAULT now());
	ALTER TABLE bad.orders ALTER COLUMN email SET STORAGE EXTERNAL;
	GRANT INSERT, SELECT ON bad.orders TO shop_app', 'tenant');
$node->sql("SELECT capi.attach(source => 'bad', table_name => 'bad.orders', dataset => 'main',
	query => \$q\$SELECT $columns, b.email AS em FROM bad.orders b\$q\$)", 'tenant');
# warm, so that times below are those of the query
$node->pay($node->place_orders(1));
$node->wait_until_idle;

my $dispatcher = $node->dispatcher_pid;

sub query_is
{
	my ($query, %options) = @_;

	$node->sql('SELECT capi.alter_source(' . ($options{source} ? "'$options{source}'" : "'bad'")
		  . ", query => \$q\$$query\$q\$)", 'tenant');
}

sub bad_orders
{
	my ($n, $note) = @_;

	return split /\n/, $node->sql("INSERT INTO bad.orders (email, note) SELECT 'bad' || n || '\@example.com', "
		  . ($note // "'x'") . " FROM generate_series(1, $n) n RETURNING id", 'shop_app');
}

sub status_of
{
	my (@ids) = @_;

	return $node->sql("SELECT DISTINCT status || coalesce(': ' || reason, '') FROM capi.delivery_status WHERE source = 'bad'
		AND order_key IN ('" . join("', '", @ids) . "') ORDER BY 1");
}

sub wait_status
{
	my ($like, @ids) = @_;

	return 1 if $node->wait_for("SELECT count(*) = " . @ids . " FROM capi.delivery_status WHERE source = 'bad'
		AND order_key IN ('" . join("', '", @ids) . "') AND status || coalesce(': ' || reason, '') ~ '$like'", 60);
	diag("instead: " . status_of(@ids));
	return 0;
}

# Orders of another source are delivered, the dispatcher and the server live.
sub others_go_on
{
	my ($name, $limit_s) = @_;
	my $began = time;
	my @ids = $node->place_orders(3);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->pay(@ids);
	ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE source = 'paid_orders' AND status = 'delivered'
		AND order_key IN ('" . join("', '", @ids) . "')", 60), "P6: $name: others are delivered");
	cmp_ok(time - $began, '<', $limit_s, "P6: $name: in time") if $limit_s;
	is($node->dispatcher_pid, $dispatcher, "P6: $name: the dispatcher lives");
	unlike($node->log_since(0), qr/was terminated by signal|reinitializing/, "P12: $name: the server was not restarted");
}

# Ends what a test left, so that the next begins fresh.
sub clear
{
	query_is("SELECT $columns, b.email AS em FROM bad.orders b");
	$node->sql("UPDATE capi.backlog SET next_attempt_at = now()");
	$node->reload;
	$node->wait_until_idle or BAIL_OUT('the bad source does not recover');
	return;
}

# --- errors ------------------------------------------------------------------

# one order whose data makes the query fail, whatever the SQLSTATE
foreach my $state (qw(23505 0A000 38001 39001 40001 54000 55000 XX000 57014 ZZ001 42704 22012))
{
	$node->sql(qq{
CREATE OR REPLACE FUNCTION bad.check(note text) RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
    IF note = 'bad' THEN RAISE EXCEPTION 'secret of a customer' USING ERRCODE = '$state'; END IF;
    RETURN note;
END \$\$}, 'tenant');
	query_is("SELECT $columns, b.email AS em, bad.check(b.note) AS content_name FROM bad.orders b");
	my @ids = bad_orders(5, "CASE n WHEN 3 THEN 'bad' ELSE 'good' END");
	my ($one) = splice @ids, 2, 1;
	ok(wait_status('^delivered', @ids), "P6: SQLSTATE $state at one order: the others are delivered");
	ok(wait_status("^retrying: the query failed with SQLSTATE $state\$", $one), "P10: $state: the one waits, and says why");
	is($node->sql("SELECT state FROM capi.source_status WHERE source = 'bad'"), 'active', "P6: $state: the source is not broken");
	clear();
}
others_go_on('errors of all classes');
unlike($node->log_since(0), qr/secret of a customer/, 'P7: no text of such an error is in the log');

# the query as such
foreach my $case (
	[ 'ALTER TABLE bad.orders RENAME COLUMN email TO mail', 'ALTER TABLE bad.orders RENAME COLUMN mail TO email', qr/column b.email does not exist/ ],
	[ 'REVOKE SELECT ON bad.orders FROM tenant', 'GRANT SELECT ON bad.orders TO tenant', qr/permission denied for table orders/ ])
{
	my ($break, $mend, $reason) = @$case;
	$node->sql($break, 'tenant');
	my @ids = split /\n/, $node->sql("INSERT INTO bad.orders (note) VALUES ('a'), ('b'), ('c') RETURNING id", 'shop_app');
	ok($node->wait_for("SELECT state = 'broken' FROM capi.source_status WHERE source = 'bad'"), "P2: $break: the source is broken");
	like($node->sql("SELECT reason FROM capi.source_status WHERE source = 'bad'"), $reason, 'P2: and says why');
	others_go_on('a broken query');
	$node->sql($mend, 'tenant');
	ok(wait_status('^delivered', @ids), 'P2: mended, it goes on by itself');
	ok($node->wait_for("SELECT state = 'active' FROM capi.source_status WHERE source = 'bad'"), 'P2: and is active');
}

# messages of class 42 that quote a value
foreach my $cast ('current_setting(b.note)', 'b.note::regclass::text', 'b.note::regconfig::text')
{
	query_is("SELECT $columns, b.email AS em, CASE WHEN b.note <> 'x' THEN $cast END AS content_name FROM bad.orders b");
	my ($id) = bad_orders(1, "'jane.doe'");
	ok(wait_status('^retrying: the query failed with SQLSTATE', $id), "P7: $cast of an order's value: the order waits");
	unlike($node->sql("SELECT string_agg(s::text, ' ') FROM capi.source_status s")
		  . $node->sql("SELECT string_agg(reason, ' ') FROM capi.delivery_status"), qr/jane/, 'P7: its value is nowhere');
	$node->sql("UPDATE bad.orders SET note = 'x' WHERE id = $id", 'tenant');
	clear();
}
unlike($node->log_since(0), qr/jane/, 'P7: nor in the log');

# RAISE of any level, in the dispatcher and in a session that delivers
$node->sql(q{
CREATE FUNCTION bad.chatter(note text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RAISE DEBUG 'overheard %', note;
    RAISE LOG 'overheard %', note;
    RAISE INFO 'overheard %', note;
    RAISE NOTICE 'overheard %', note;
    RAISE WARNING 'overheard %', note;
    RETURN note;
END $$}, 'tenant');
query_is("SELECT $columns, b.email AS em, bad.chatter(b.note) AS content_name FROM bad.orders b");
my @ids = bad_orders(2);
ok(wait_status('^delivered', @ids), 'P7: a function that talks');
# in parallel workers it would talk where nobody listens for it
$node->sql(q{
CREATE TABLE bad.many AS SELECT 'overheard ' || n AS t FROM generate_series(1, 100000) n;
CREATE FUNCTION bad.loud(t text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE COST 100000 AS $$
BEGIN
    IF t LIKE '%00000' THEN RAISE LOG '%', t; END IF;
    RETURN t;
END $$;
CREATE FUNCTION bad.crowd() RETURNS text LANGUAGE plpgsql
    SET parallel_setup_cost = 0 SET parallel_tuple_cost = 0 SET min_parallel_table_scan_size = 0
    SET max_parallel_workers_per_gather = 4 SET parallel_leader_participation = off AS $$
BEGIN
    RETURN (SELECT count(bad.loud(m.t))::text FROM bad.many m);
END $$;
ANALYZE bad.many}, 'tenant');
query_is("SELECT $columns, b.email AS em, bad.crowd() AS content_name FROM bad.orders b");
@ids = bad_orders(1);
ok(wait_status('^delivered', @ids), 'P7: a function that talks in parallel');
query_is("SELECT $columns, b.email AS em, bad.chatter(b.note) AS content_name FROM bad.orders b");
$node->change('capi.enabled' => 'off');
@ids = bad_orders(2);
my ($ret, $out, $err) = $node->psql('shop', "SET client_min_messages = debug1; SET capi.enabled = on; CALL capi.deliver()");
unlike($err, qr/overheard/, 'P7: is not heard in CALL capi.deliver()');
$node->change('capi.enabled' => 'on');
$node->wait_until_idle;
unlike($node->log_since(0), qr/overheard/, 'P7: nor in the log');
clear();

# a remote end that fails at commit
$node->sql(q{
CREATE DATABASE remote OWNER tenant});
$node->safe_psql('remote', q{
CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED);
CREATE SEQUENCE s;
CREATE FUNCTION write() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO public.t VALUES (nextval(''public.s'')::int, -1) RETURNING id';
CREATE VIEW v AS SELECT n AS id, write() AS w FROM generate_series(1, 3) n;
GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant; GRANT ALL ON SEQUENCE s TO tenant});
$node->sql("CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $node->host . "', port '" . $node->port . "', dbname 'remote')", 'tenant');
$node->sql("CREATE USER MAPPING FOR tenant SERVER far OPTIONS (user 'tenant', password_required 'false')");
$node->sql('CREATE FOREIGN TABLE bad.far (id int, w int) SERVER far OPTIONS (schema_name \'public\', table_name \'v\')', 'tenant');
query_is("SELECT $columns, b.email AS em, (SELECT max(f.w)::text FROM bad.far f) AS content_name FROM bad.orders b");
@ids = bad_orders(3);
ok(wait_status('^retrying: the query failed with SQLSTATE 23503', @ids), 'P6: an error at commit is one of the query');
others_go_on('an error at commit');
clear();

# --- locks -------------------------------------------------------------------

# session-level advisory locks fill the lock table of everybody
$node->sql(q{
CREATE FUNCTION bad.hoard() RETURNS text LANGUAGE sql AS
    'SELECT count(pg_advisory_lock(n))::text FROM generate_series(1, 1000000) n'}, 'tenant');
query_is("SELECT $columns, b.email AS em, bad.hoard() AS content_name FROM bad.orders b");
@ids = bad_orders(2);
# while it is full, it is so for everybody
$node->poll_query_until('shop', "SELECT count(*) = 2 FROM capi.backlog WHERE reason ~ 'SQLSTATE 53200'");
ok(wait_status('^retrying: the query failed with SQLSTATE 53200', @ids), 'P6: a lock table that is full is an error of the query');
is($node->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'P12: and its locks are gone');
others_go_on('a full lock table');
clear();

# a migration that holds a table of the shop
my $migration = $node->session(role => 'tenant');
$migration->sql('BEGIN; LOCK TABLE bad.orders IN ACCESS EXCLUSIVE MODE');
$node->change('capi.enabled' => 'off');
$migration->sql('COMMIT');
@ids = bad_orders(2);
$migration->sql('BEGIN; LOCK TABLE bad.orders IN ACCESS EXCLUSIVE MODE');
$node->change('capi.enabled' => 'on');
others_go_on('a table that is locked', 5);
ok(wait_status('.', @ids), 'P10: its orders wait');
$migration->sql('COMMIT');
ok(wait_status('^delivered', @ids), 'P6: and go on when it is free');
clear();

# --- memory ------------------------------------------------------------------

# values that are far longer than what is ever sent
$node->sql("INSERT INTO bad.orders (email, note) SELECT repeat('x', 20000000), 'x' FROM generate_series(1, 30)", 'shop_app');
ok($node->wait_for("SELECT count(*) = 30 FROM capi.delivery_status WHERE source = 'bad' AND status = 'delivered' AND order_key::int > (SELECT max(id) - 30 FROM bad.orders)", 90),
	'P6: orders with 20 MB in a field are delivered without it');
like($node->sql("SELECT problems::text FROM capi.delivery WHERE key = (SELECT max(id)::text FROM bad.orders)"), qr/"em".*too long/, 'P10: and it is named');
# and those that the query itself has to read in full
query_is("SELECT $columns, lower(b.email) AS em FROM bad.orders b");
@ids = split /\n/, $node->sql("INSERT INTO bad.orders (email, note) SELECT CASE WHEN n = 2 THEN repeat('x', 100000000) ELSE 'a\@b.example' END, 'x' FROM generate_series(1, 4) n RETURNING id", 'shop_app');
my ($huge) = splice @ids, 1, 1;
ok(wait_status('^delivered', @ids), 'P6: one order that needs more than capi.reader_memory');
ok(wait_status('^retrying: the query failed with SQLSTATE 5', $huge), 'P6: waits alone');
others_go_on('memory without end');
$node->sql("DELETE FROM bad.orders WHERE length(email) > 1000", 'tenant');
clear();

# when memory is out the server tells of its contexts, with texts of statements
$node->sql(q{
CREATE FUNCTION bad.hog(mail text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c refcursor;
    n text;
BEGIN
    OPEN c FOR EXECUTE format('SELECT length(repeat(%L, 20000000))::text', mail);
    FETCH c INTO n;
    RETURN n;
END $$}, 'tenant');
query_is("SELECT $columns, b.email AS em, bad.hog(b.email) AS content_name FROM bad.orders b");
my $log = $node->log_size;
@ids = split /\n/, $node->sql("INSERT INTO bad.orders (email, note) VALUES ('hogged.customer\@private.example', 'x') RETURNING id", 'shop_app');
ok(wait_status('^retrying: the query failed with SQLSTATE 53200: it wants more than capi.reader_memory', @ids), 'P10: out of memory is said in words');
unlike($node->log_since($log), qr/hogged|TopMemoryContext/, 'P7: nothing of the memory is in the log');
like($node->log_since($log), qr/wants more than capi.reader_memory/, 'P10: but that it was out');
like($node->sql(q{SELECT detail || hint FROM capi.diagnose() WHERE "check" = 'queries' AND NOT ok}), qr/53200.*capi\.preview\('bad'/s,
	'P10: diagnose() knows of orders for which the query fails');
clear();

# whatever code the query fails with, the log does not grow with the orders
$node->sql(q{CREATE FUNCTION bad.without_room() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE out_of_memory; END $$}, 'tenant');
query_is("SELECT $columns, b.email AS em, bad.without_room() AS content_name FROM bad.orders b");
$log = $node->log_size;
@ids = bad_orders(30);
ok(wait_status('^retrying: the query failed with SQLSTATE 53200', @ids), 'P6: orders that say so all wait');
my $told = () = $node->log_since($log) =~ /wants more than capi.reader_memory/g;
cmp_ok($told, '<', $node->sql(q{SELECT sum(attempts) FROM capi.delivery_status WHERE source = 'bad' AND reason ~ '53200'}), 'P12: and are not told one by one');
clear();

# a join without its condition
query_is("SELECT $columns, b.email AS em FROM bad.orders b, generate_series(1, 3000000) n");
@ids = bad_orders(2);
ok(wait_status('^rejected: several_rows', @ids), 'P6: a query without its join condition is left early');
others_go_on('rows without end');
clear();
my $peak = 0;
foreach my $line (split /\n/, PostgreSQL::Test::Utils::slurp_file("/proc/$dispatcher/status"))
{
	$peak = $1 if $line =~ /^VmHWM:\s+(\d+)/;
}
cmp_ok($peak, '<', 150_000, 'P12: the dispatcher never grew') or diag("$peak kB");

# --- time --------------------------------------------------------------------

# a query that hangs, one that traps the cancel, one that serves no interrupt
$node->sql(q{
CREATE FUNCTION bad.trap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_sleep(1000);
        EXCEPTION WHEN query_canceled THEN NULL;
        END;
    END LOOP;
END $$}, 'tenant');
foreach my $case ([ 'pg_sleep(1000)::text', 'a query that sleeps' ], [ 'bad.trap()', 'a query that traps the cancel' ])
{
	my ($expression, $name) = @$case;
	query_is("SELECT $columns, b.email AS em, $expression AS content_name FROM bad.orders b");
	@ids = bad_orders(4);
	others_go_on($name, 4);
	ok(wait_status('(slow|longer|broken|ended)', @ids), "P10: $name: its orders wait");
	others_go_on("$name, once known", 3);
	clear();
}

# one order alone is slow
query_is("SELECT $columns, b.email AS em, CASE WHEN b.note = 'slow' THEN pg_sleep(1000)::text END AS content_name FROM bad.orders b");
@ids = bad_orders(8, "CASE n WHEN 5 THEN 'slow' ELSE 'x' END");
my ($slow) = splice @ids, 4, 1;
ok(wait_status('^delivered', @ids), 'P6: one order alone is slow: the others of its source are delivered');
ok(wait_status('^retrying: the query took longer', $slow), 'P6: and it waits');
$node->sql("UPDATE bad.orders SET note = 'x' WHERE id = $slow", 'tenant');
clear();

SKIP:
{
	skip 'the server was built without libxml', 6 unless $node->sql(q{SELECT count(*) FROM pg_config WHERE setting LIKE '%--with-libxml%'});
	query_is("SELECT $columns, b.email AS em, (SELECT (xpath('count(//a[count(//a[count(//a) > 0]) > 0])', x.d))[1]::text
		FROM (SELECT ('<r>' || repeat('<a/>', 1500) || '</r>')::xml AS d) x) || b.id AS content_name FROM bad.orders b");
	@ids = bad_orders(2);
	others_go_on('C code without interrupts', 9);
	ok(wait_status('.', @ids), 'P10: its orders wait');
	ok($node->wait_for("SELECT count(*) <= 2 FROM pg_stat_activity WHERE backend_type = 'capi reader'"), 'P12: readers are not piled up');
	others_go_on('while it runs', 3);
	$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi reader' AND query LIKE '%running%' AND state = 'active'", 120);
	clear();
}

# twenty sources of one tenant that all run into the limit
query_is("SELECT $columns, b.email AS em FROM bad.orders b");
$node->sql("SELECT capi.attach(source => 'bad' || n, table_name => 'bad.orders', dataset => 'main', event_name => 'Lead',
	query => \$q\$SELECT $columns, pg_sleep(1000)::text AS content_name, b.email AS em FROM bad.orders b\$q\$)
	FROM generate_series(1, 20) n", 'tenant');
bad_orders(2);
foreach my $round (1 .. 5)
{
	others_go_on("twenty hanging sources of one tenant, round $round", $round == 1 ? 25 : 4);
}
$node->sql("SELECT capi.detach('bad' || n) FROM generate_series(1, 20) n", 'tenant');
clear();

# --- tenants -----------------------------------------------------------------

$node->sql('CREATE ROLE neighbour LOGIN; CREATE SCHEMA next AUTHORIZATION neighbour; GRANT USAGE ON SCHEMA next TO shop_app;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO neighbour, tenant');
$node->sql("SELECT capi.grant_access('neighbour', 'admin')");
$node->sql('CREATE TABLE next.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, at timestamptz DEFAULT now()); GRANT INSERT, SELECT ON next.orders TO shop_app', 'neighbour');
$node->sql("SELECT capi.attach(source => 'next', table_name => 'next.orders', dataset => 'main', query => \$q\$
	SELECT b.id AS key, b.at AS event_time, 10 AS value, 'EUR' AS currency, 'next-' || b.id AS event_id, b.email AS em,
	       coalesce(array_to_string(public.dblink_get_connections(), ','), 'none') AS content_name FROM next.orders b\$q\$)", 'neighbour');
$node->sql("CREATE FUNCTION public.link() RETURNS text LANGUAGE sql SECURITY DEFINER AS \$\$
	SELECT public.dblink_connect('mine', 'dbname=remote port=" . $node->port . ' host=' . $node->host . "')
	WHERE 'mine' <> ALL (coalesce(public.dblink_get_connections(), '{}')) \$\$");
query_is("SELECT $columns, b.email AS em, coalesce(public.link(), 'x') AS content_name FROM bad.orders b");
@ids = bad_orders(1);
ok(wait_status('^delivered', @ids), 'P9: a tenant opens a named connection');
$node->sql("INSERT INTO next.orders (email) VALUES ('n\@example.com')", 'shop_app');
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE source = 'next' AND status = 'delivered'"), 'P9: another is delivered');
my ($event) = grep { $_->{event_id} eq 'next-1' } $sandbox->events(dataset => $node->dataset_id);
is($event->{event}{custom_data}{content_name}, 'none', 'P9: and sees no connection of it');

is($node->dispatcher_pid, $dispatcher, 'P6: after all of this the dispatcher is the same process');
done_testing();
