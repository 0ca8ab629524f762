# P6, P7: what a reader keeps of the orders that it has read, memory that the server
# does not give back, is no other order's fault; and what it keeps of an error is
# of the query itself, whatever the planner runs.  Nor is it the query's fault when
# a reader cannot see what is capi's, or has nothing to be told in.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => qq{
capi.readers = 1
capi.reader_memory = '64MB'
dynamic_shared_memory_type = mmap});
my $columns = q{b.id AS key, b.at AS event_time, 10 AS value, 'EUR' AS currency, b.id AS order_id,
       '203.0.113.7' AS client_ip_address, 'test agent' AS client_user_agent, 'b@example.com' AS em};

$node->install_capi;
$node->sql('CREATE ROLE tenant LOGIN; CREATE SCHEMA bad AUTHORIZATION tenant; GRANT USAGE ON SCHEMA bad TO shop_app');
$node->sql("SELECT capi.grant_access('tenant', 'admin')");
# a zone that is named once is kept for the life of a process, some 20 kB each
$node->sql(q{
CREATE TABLE bad.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, zones int, at timestamptz DEFAULT now());
CREATE TABLE bad.others (LIKE bad.orders INCLUDING ALL);
GRANT INSERT, SELECT ON bad.orders, bad.others TO shop_app;
CREATE FUNCTION bad.zones(n int) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT max(now() AT TIME ZONE (translate(to_char(i, 'FM0000000'), '0123456789', 'ABCDEFGHIJ') || '1'))::text
	  FROM generate_series(1, n) i $$;
CREATE FUNCTION bad.large() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT left(upper(repeat('x', 2000000)), 1) $$}, 'tenant');
foreach my $table (qw(orders others))
{
	$node->sql("SELECT capi.attach(source => '$table', table_name => 'bad.$table', dataset => 'main', event_name => '$table', query => \$q\$
		SELECT $columns, '$table-' || b.id AS event_id, bad."
		  . ($table eq 'orders' ? 'zones(b.zones)' : 'large()') . " AS content_name FROM bad.$table b\$q\$)", 'tenant');
}

sub insert
{
	my ($table, @zones) = @_;

	return split /\n/, $node->sql("INSERT INTO bad.$table (zones) SELECT unnest('{" . join(',', @zones) . "}'::int[]) RETURNING id", 'shop_app');
}

sub wait_status
{
	my ($table, $like, @ids) = @_;
	my $those = "FROM capi.delivery_status WHERE source = '$table' AND order_key IN ('" . join("', '", @ids) . "')";

	return 1 if $node->wait_for("SELECT count(*) = " . @ids . " $those AND status || coalesce(': ' || reason, '') ~ '$like'", 30);
	diag($node->sql("SELECT status, reason, count(*) $those GROUP BY 1, 2"));
	return 0;
}

# What waits is due now.
sub look_again
{
	$node->sql('UPDATE capi.backlog SET next_attempt_at = now()');
	$node->reload;
	return;
}

# --- memory that stays -----------------------------------------------------------------

ok(wait_status('others', '^delivered', insert('others', 1)), 'a source that wants some memory');
my @ids = insert('orders', 1900);
ok(wait_status('orders', '^delivered', @ids), 'an order that leaves most of it in use');
ok(wait_status('others', '^delivered', insert('others', (1) x 5)), 'P6: another source of the role has what it wants');
@ids = insert('orders', 1, 1, 1, 10000, 1, 1, 1);
my ($one) = splice @ids, 3, 1;
ok(wait_status('orders', '^delivered', @ids), 'P6: so have the other orders of a portion in which one takes all');
ok(wait_status('orders', '^retrying: the query failed with SQLSTATE 53200', $one), 'P10: that one waits, and says why');
ok(wait_status('others', '^delivered', insert('others', (1) x 5)), 'P6: and the other source again');
is($node->sql("SELECT string_agg(DISTINCT state, ' ') FROM capi.source_status"), 'active', 'P6: no source is broken');
$node->sql('UPDATE bad.orders SET zones = 1', 'tenant');
look_again();
ok($node->wait_until_idle, 'P3: in the end all are delivered');
is($node->repeats, 0, 'P5: and once');

# --- a statement like ours ---------------------------------------------------------------

# functions that the planner calls, since they say of themselves that they are constant
$node->sql(q{
CREATE TABLE bad.secrets (mail text, is_on boolean);
INSERT INTO bad.secrets VALUES ('jane.doe@private.example', false);
CREATE FUNCTION bad.by_plpgsql() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    t text;
BEGIN
    EXECUTE 'SELECT q.* FROM (SELECT current_setting(mail) FROM bad.secrets WHERE is_on) q' INTO t;
    RETURN t;
END $$;
CREATE FUNCTION bad.by_sql() RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT query_to_xml('SELECT q.* FROM (SELECT current_setting(mail) FROM bad.secrets WHERE is_on) q', true, true, '')::text $$}, 'tenant');
foreach my $function (qw(by_plpgsql by_sql))
{
	$node->sql("SELECT capi.alter_source('orders', query => \$q\$
		SELECT $columns, 'orders-' || b.id AS event_id, bad.$function() AS content_name FROM bad.orders b\$q\$)", 'tenant');
	$node->sql('UPDATE bad.secrets SET is_on = true', 'tenant');
	my ($id) = insert('orders', 1);
	ok($node->wait_for("SELECT state = 'broken' FROM capi.source_status WHERE source = 'orders'"), "P2: $function: the query fails for no order at all");
	is($node->sql("SELECT reason FROM capi.source_status WHERE source = 'orders'"), 'the query failed with SQLSTATE 42704', 'P7: in which words, is not told');
	$node->sql('UPDATE bad.secrets SET is_on = false', 'tenant');
	$node->sql("SELECT capi.resume('orders')", 'tenant');
	ok(wait_status('orders', '^delivered', $id), 'P2: mended, it goes on');
}
unlike($node->log_since(0), qr/jane/, 'P7: nor is it in the log');

# --- tables of capi's that a reader reads ------------------------------------------------

$node->sql("SELECT capi.alter_source('$_', query => \$q\$SELECT $columns, '$_-' || b.id AS event_id FROM bad.$_ b\$q\$)", 'tenant') foreach qw(orders others);
$node->sql(q{SELECT capi.set_context('1', '{"fbp": "fb.1.2.3", "consent": true}', 'orders')});
my $holder = $node->session;
$holder->sql('BEGIN; LOCK TABLE capi.context, capi.consent');
my %ids = map { $_ => [ insert($_, (1) x 200) ] } qw(orders others);
ok(wait_status($_, 'not read: browser contexts are locked', @{ $ids{$_} }), 'P10: contexts are locked: what waits says why') foreach qw(orders others);
$holder->sql('COMMIT');
look_again();
is($node->sql("SELECT string_agg(DISTINCT state, ' ') FROM capi.source_status"), 'active', 'P6: no source is broken for it');
ok(wait_status($_, '^delivered', @{ $ids{$_} }), 'P3: and all go') foreach qw(orders others);
$holder->quit;

# --- no shared memory for a reader -------------------------------------------------------

my $pid = $node->dispatcher_pid;
my $folder = $node->data_dir . '/pg_dynshmem';
my $log = $node->log_size;
$node->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'capi reader'");
chmod 0500, $folder or die;
@ids = insert('orders', (1) x 3);
ok(wait_status('orders', 'no reader can be started: the server has no shared memory for it', @ids), 'P10: without shared memory orders wait, and say why');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'readers' AND NOT ok}), qr/shared memory/, 'P10: so does diagnose()');
ok($node->wait_for(q{SELECT state = 'no_reader' FROM capi.health WHERE dataset = 'main'}), 'P10: and health');
is($node->sql(q{SELECT count(*) FROM capi.diagnose() WHERE NOT ok AND hint ~ 'max_worker_processes'}), '0', 'P10: nobody is sent to another setting');
$node->sql(q{SELECT capi.send('main', '{"event_name": "Lead", "user_data": {"em": "a@b.example"}, "action_source": "other"}', 'k')});
ok($node->wait_for(q{SELECT count(*) = 1 FROM capi.delivery_status WHERE order_key = 'k' AND status = 'delivered'}), 'P6: what needs no reader goes on');
is(() = $node->log_since($log) =~ /no shared memory for a reader: could not open/g, 1, 'P12: the log says it once');
chmod 0700, $folder or die;
look_again();
ok(wait_status('orders', '^delivered', @ids), 'P3: when there is some again they go');
is($node->dispatcher_pid, $pid, 'P6: the dispatcher is the same process');

# --- no room for a lock --------------------------------------------------------------------

# which needs no right at all
my $hog = $node->session(role => 'tenant');
$log = $node->log_size;
$hog->sql('SET client_min_messages = error');
$hog->sql('DO $$ DECLARE n int := 0; BEGIN LOOP n := n + 1; PERFORM pg_advisory_lock(n);'
	  . ' END LOOP; EXCEPTION WHEN out_of_memory THEN NULL; END $$');
$node->reload;
my $until = time + 30;
usleep(50_000) until time > $until || $node->log_since($log) =~ /capi dispatcher .*out of shared memory/;
like($node->log_since($log), qr/capi dispatcher LOG: .* failed, and is tried again: out of shared memory/, 'P6: the table of locks is full: the dispatcher tries again');
$hog->sql('SELECT pg_advisory_unlock_all()');
$hog->quit;
ok(wait_status('others', '^delivered', insert('others', (1) x 3)), 'P3: and goes on when there is room');
is($node->dispatcher_pid, $pid, 'P6: the dispatcher is the same process');

done_testing();
