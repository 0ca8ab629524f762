# P3 and P4: a dump restored where a part of the shop is missing, and how the copy
# is confirmed while it is at work.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop, restored');
my $restored = $node->in_database('restored', dataset_id => '222');
my $dump = $node->basedir . '/shop.sql';
my $pickup_query = q{SELECT id AS key, at AS event_time, 5 AS value, 'EUR' AS currency, 'a@example.com' AS em,
       'https://shop.example/' AS event_source_url, 'agent' AS client_user_agent FROM till.pickups};

$node->install_capi;
$node->attach;
$node->sql(q{
CREATE ROLE till LOGIN; CREATE SCHEMA till AUTHORIZATION till; GRANT CREATE ON SCHEMA shop TO till;
SELECT capi.grant_access('till', 'admin')});
$node->sql(q{
CREATE TABLE till.pickups (id text PRIMARY KEY, at timestamptz DEFAULT now());
CREATE TABLE till.closed (id text PRIMARY KEY, at timestamptz DEFAULT now());
CREATE TABLE till.later (id text PRIMARY KEY, at timestamptz DEFAULT now())}, 'till');
$node->sql("SELECT capi.attach('$_', 'till.$_', 'main', query => \$\$" . $pickup_query =~ s/pickups/$_/r . '$$)', 'till') foreach qw(pickups closed later);

# --- the dump ----------------------------------------------------------------------

$node->change('capi.enabled' => 'off');
$node->wait_for("SELECT state = 'disabled' FROM capi.health") or die;
my @orders = $node->place_orders(3);
$node->pay(@orders);
$node->sql("INSERT INTO till.pickups VALUES ('p1'), ('p2'); INSERT INTO till.closed VALUES ('c1'); INSERT INTO till.later VALUES ('l1')", 'till');
$node->sql("INSERT INTO capi.queue_2 SELECT pg_current_xact_id(), now(), id, 7, NULL FROM capi.source WHERE name = 'paid_orders'");
$node->command_ok([ 'pg_dump', '-T', 'till.closed', '-T', 'till.later', '-d', $node->connstr('shop'), '-f', $dump ],
	'pg_dump without two tables');

# --- where a role, two tables and a type are missing ---------------------------------

my $text = slurp_file($dump);
my ($sources) = $text =~ /^(COPY capi\.source .*?^\\\.$)/ms;
my $less = $sources =~ s/^(\d+\tpickups\t.*?)\ttill\t/$1\tabsent_role\t/mr
  =~ s/^(\d+\tclosed\ttill\.closed\t.*\{)text(\}\tpg_catalog)/$1till.absent_type$2/mr;
is(scalar(() = $less =~ /absent/g), 2, 'two more names are not known there');
append_to_file("$dump.less", $text =~ s/\Q$sources\E/$less/r);
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', "$dump.less" ],
	'P3: it is restored all the same');
is($restored->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued'"), 7, 'with all that waited');
is($restored->sql("SELECT source, state, reason FROM capi.source_status ORDER BY 1"), <<'EOT' =~ s/\n\z//r, 'what is missing is said');
closed|broken|the table is gone
later|broken|the table is gone
paid_orders|active|
pickups|broken|the role that the query of the source runs as does not exist
EOT
$restored->sql('CREATE TABLE numbers (role capi.role_ref, other capi.role_ref)');
is($restored->sql("INSERT INTO numbers VALUES ('10', '-') RETURNING role::oid, other::oid"), '0|0',
	'P9: a number, of what was dropped before the dump, is nobody here');

# --- confirmed in a transaction that is older than some orders -----------------------

my $admin = $restored->session;
my @late = $restored->place_orders(3);
$admin->sql('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$restored->pay($late[0]);
$admin->sql("SET client_min_messages = error; SELECT capi.alter_dataset('main', dataset_id => '222', access_token => 'sandbox-token')");
$admin->sql('SELECT capi.confirm_identity()');
$restored->pay($late[1]);
is($restored->sql('SELECT missed FROM capi._slot()'), 0, 'P1 P3: while it is confirmed orders are captured');
$admin->sql('COMMIT');
$restored->pay($late[2]);
$node->change('capi.enabled' => 'on');
ok($restored->wait_for("SELECT count(*) = 6 FROM capi.delivery_status WHERE status = 'delivered'"),
	'P3: what was captured before and meanwhile is sent');
is(join(' ', sort { $a <=> $b } map { $_->{event_id} } $sandbox->events(dataset => '222')), join(' ', @orders, @late),
	'P5: each of it once');
is($restored->sql("SELECT missed_captures FROM capi.source_status WHERE source = 'paid_orders'"), 7,
	'what was missed is still counted');
ok($restored->wait_for("SELECT state = 'broken' FROM capi.source_status WHERE source = 'pickups'"), 'one source is broken');
is($restored->sql(q{SELECT string_agg(order_key, ' ' ORDER BY order_key COLLATE "C") FROM capi.delivery_status WHERE status = 'queued'}),
	'c1 l1 p1 p2', 'and its events wait, as do those of the tables that are missing');

# two at once, and a serializable one: nothing is moved twice
$restored->sql("UPDATE capi.state SET database_oid = 1");
my @two = map { $restored->session } 1 .. 2;
$two[0]->sql('BEGIN; SELECT capi.confirm_identity()');
$two[1]->send('SELECT capi.confirm_identity()');
$restored->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%confirm_identity%'") or die;
$two[0]->sql('COMMIT');
is($two[1]->answer, '', 'a second one waits for the first, and has nothing to do');
is($restored->sql('SELECT capi._is_copy()'), 'f', 'and it is confirmed');
$_->quit foreach @two;

# --- the way out -----------------------------------------------------------------

$restored->sql("SELECT capi.alter_source('pickups', query => \$\$$pickup_query\$\$)", 'till');
ok($restored->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE source = 'pickups' AND status = 'delivered'"),
	'alter_source() makes the query run as another role, and what waited is sent');
$restored->sql("CREATE TABLE till.absent (id text PRIMARY KEY, at timestamptz DEFAULT now()); INSERT INTO till.absent VALUES ('c1')", 'till');
$restored->sql("BEGIN; SELECT capi.detach('closed'); SELECT capi.attach('closed', 'till.absent', 'main', query => \$\$"
	  . $pickup_query =~ s/pickups/absent/r . "\$\$); COMMIT", 'till');
ok($restored->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE source = 'closed' AND status = 'delivered'"),
	'detach() and attach() in one transaction give a source its table again, and what waited is sent');
$restored->sql("CREATE TABLE till.later (id text PRIMARY KEY, at timestamptz DEFAULT now()); INSERT INTO till.later VALUES ('l1')", 'till');
is($restored->sql("SELECT state, reason FROM capi.source_status WHERE source = 'later'"),
	'broken|another table has the name "till.later" now', 'a table that comes later under its name is said');
$restored->sql("SELECT capi.alter_source('later', table_name => 'till.later')", 'till');
ok($restored->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE source = 'later' AND status = 'delivered'"),
	'alter_source() takes it, and what waited is sent');
is(join(' ', sort grep { /^[clp]/ } map { $_->{event_id} } $sandbox->events(dataset => '222')), 'c1 l1 p1 p2', 'P5: each once');
is($restored->sql("SELECT count(*) FROM capi.source_status WHERE state <> 'active'"), 0, 'nothing is broken');

# --- into the very database that it is of ---------------------------------------------

$node->sql("SELECT capi.pause('paid_orders')");
my @again = $node->place_orders(2);
$node->pay(@again);
$node->wait_for("SELECT count(*) = 2 FROM capi.backlog WHERE source_id = (SELECT id FROM capi.source WHERE name = 'paid_orders')") or die;
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('shop'), '-f', "$dump.c" ], 'dumped once more');
$node->sql("SELECT capi.resume('paid_orders')");
$node->wait_for("SELECT count(*) = 2 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('$again[0]', '$again[1]')") or die;
$node->command_ok([ 'pg_restore', '--clean', '--if-exists', '-d', $node->connstr('shop'), "$dump.c" ], 'and restored in its place');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'sandbox-token'); SELECT capi.resume('paid_orders')");
ok($node->wait_for("SELECT state = 'held_identity' FROM capi.health"), 'P5: a dump that is restored in its place sends nothing by itself');
is($node->repeats, 0, 'P5: nothing of it, that is, which was sent since');

done_testing();
