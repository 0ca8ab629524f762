# P1: beside an extension that cannot follow subtransactions, as Citus in the middle
# of an INSERT ... SELECT, orders are captured without one: the first of a session,
# and a thousand in a statement.  What may raise an error of its own has one still.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::Subxacts;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '100ms'\nautovacuum = off");
$node->install_capi;
$node->attach;
CapiTest::Subxacts::install($node);

sub noted
{
	my ($source) = @_;

	return $node->sql("SELECT coalesce(string_agg(DISTINCT coalesce(u.key, 'missed'), ' '), 'none')"
		  . " FROM capi._unread u JOIN capi.source s ON s.id = u.source_id WHERE s.name = '$source'");
}

# The statement as the first of a session in which subtransactions are refused.
sub first_statement_ok
{
	my ($statement, $what) = @_;
	my $session = $node->session;
	my $answer;

	$session->sql('SELECT subxacts.refuse(true)');
	$session->sql('SELECT subxacts.begun()');
	$session->send($statement);
	$answer = $session->answer;
	is($answer . ' ' . $session->sql('SELECT subxacts.begun()'), ' 0', $what);
	$session->quit;
	return;
}

my $order = "INSERT INTO shop.orders (total, email, status, paid_at)";
first_statement_ok("$order VALUES (1, 'first\@example.com', 'paid', now())", 'P1: the first order of a session');
first_statement_ok("$order SELECT n, 'many\@example.com', 'paid', now() FROM generate_series(1, 1000) n",
	'P1: a thousand orders in its first statement');
first_statement_ok("UPDATE shop.orders SET is_test = false WHERE email = 'first\@example.com'", 'P1: an update');
$node->wait_until_idle;
$node->deliveries_ok('P3: all of them are delivered');

# --- the types that keys and states of orders have ---------------------------------

$node->sql("ALTER SYSTEM SET capi.enabled = off");
$node->reload;
$node->wait_for("SELECT current_setting('capi.enabled') = 'off'") or die;
$node->sql("CREATE TYPE shop.state AS ENUM ('open', 'paid'); CREATE DOMAIN shop.number AS bigint CHECK (VALUE > 0)");

sub table_ok
{
	my ($name, $key_type, $key, $on_type, $on_value) = @_;
	my $on = defined $on_type ? ", on_column => 'state', on_values => '{$on_value}'" : '';

	$node->sql("CREATE TABLE shop.$name (id $key_type, state " . ($on_type // 'text') . ')');
	$node->sql("SELECT capi.attach('$name', 'shop.$name', 'main', key_columns => '{id}'$on,"
		  . " query => 'SELECT id AS key, now() AS event_time FROM shop.$name')");
	first_statement_ok("INSERT INTO shop.$name VALUES ('$key', " . (defined $on_value ? "'$on_value'" : 'NULL') . ')',
		"P1: key $key_type, state " . ($on_type // 'not watched'));
	is(noted($name), $key, 'and it is noted');
	return;
}

table_ok('k_int2', 'int2', '7', 'text', 'paid');
table_ok('k_int4', 'int4', '7', 'varchar(20)', 'paid');
table_ok('k_int8', 'int8', '7', 'shop.state', 'paid');
table_ok('k_uuid', 'uuid', '00000000-0000-0000-0000-000000000007', 'boolean', 't');
table_ok('k_text', 'text', 'A7', 'int4', '30');
table_ok('k_varchar', 'varchar(20)', 'A7', 'char(4)', 'paid');
table_ok('k_numeric', 'numeric', '7', 'numeric', '30');
table_ok('k_domain', 'shop.number', '7');

# a table that is a partition of the attached one
$node->sql('CREATE TABLE shop.parted (id int, state text) PARTITION BY RANGE (id);'
	  . ' CREATE TABLE shop.part PARTITION OF shop.parted FOR VALUES FROM (0) TO (10)');
$node->sql("SELECT capi.attach('parted', 'shop.parted', 'main', key_columns => '{id}', on_column => 'state',"
	  . " on_values => '{paid}', query => 'SELECT id AS key, now() AS event_time FROM shop.parted')");
first_statement_ok("INSERT INTO shop.parted VALUES (7, 'paid')", 'P1: a partition');
is(noted('parted'), '7', 'and it is noted');

# --- what has a subtransaction, so that its error is that of the rule ----------------

sub counted
{
	my ($statement) = @_;
	my $session = $node->session;
	my $answer;

	$session->sql('SELECT subxacts.begun()');
	$answer = $session->sql($statement) . ' ' . $session->sql('SELECT subxacts.begun()');
	$session->quit;
	return $answer;
}

$node->sql('CREATE TABLE shop.k_inet (id inet, state date)');
$node->sql("SELECT capi.attach('k_inet', 'shop.k_inet', 'main', key_columns => '{id}', on_column => 'state',"
	  . " on_values => '{2026-01-31}', query => 'SELECT id AS key, now() AS event_time FROM shop.k_inet')");
is(counted("INSERT INTO shop.k_inet VALUES ('10.0.0.7', '2026-01-31')"), ' 2',
	'a date among the values, and a key that is no plain type: one each');
is(noted('k_inet'), '10.0.0.7', 'and it is noted');
$node->sql("ALTER TYPE shop.state RENAME VALUE 'paid' TO 'settled'");
is(counted("INSERT INTO shop.k_int8 VALUES (8, 'settled')"), ' 1', 'P1: a label that was renamed');
is(noted('k_int8'), '7 missed', 'P10: is a miss of that source');

# --- a rule whose text is packed ------------------------------------------------------

$node->sql('CREATE TABLE shop.long (id int, state text)');
$node->sql("SELECT capi.attach('long', 'shop.long', 'main', key_columns => '{id}', on_column => 'state',"
	  . " on_values => ARRAY['paid', repeat('settled', 2000)], query => 'SELECT id AS key, now() AS event_time FROM shop.long')");
is(counted("INSERT INTO shop.long VALUES (7, 'paid')"), ' 1', 'values of 14 kB are unpacked in one');
is(noted('long'), '7', 'and it is noted');

# --- rules, and a block of the queue, that cannot be read ------------------------------

sub file
{
	my ($table) = @_;

	return $node->data_dir . '/' . $node->sql("SELECT pg_relation_filepath('$table')");
}

sub unnoted
{
	return ($node->sql("SELECT detail FROM capi.diagnose() WHERE \"check\" = 'captures'") =~ /^(\d+)/)[0];
}

my $rules = file('capi.source');
my $queue = file('capi.queue_' . $node->sql('SELECT segment FROM capi.state'));
$node->stop;
chmod 0, $rules or die;
$node->start;
my $log = $node->log_size;
my $session = $node->session;
$session->sql('SELECT subxacts.refuse(true)');
is($session->sql("INSERT INTO shop.k_int4 VALUES (8, 'paid')"), '', 'P1: an order while the rules cannot be read');
$session->sql('SELECT subxacts.refuse(false)');
$session->sql("BEGIN; INSERT INTO shop.k_int4 VALUES (9, 'paid'); SAVEPOINT s; INSERT INTO shop.k_int4 VALUES (10, 'paid');"
	  . " ROLLBACK TO s; INSERT INTO shop.k_int4 VALUES (11, 'paid')");
is($session->sql('COMMIT'), '', 'P1: its transaction goes on and commits');
chmod 0600, $rules or die;
is($session->sql("INSERT INTO shop.k_int4 VALUES (12, 'paid')"), '', 'and the session goes on');
is(noted('k_int4'), '12 7', 'P3: with rules again, in the same session');
is($node->sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM shop.k_int4"), '7 8 9 11 12', 'the orders are there');
is(unnoted(), 4, 'P10: each that was not noted is counted');
unlike($node->log_since($log), qr/leak|WARNING/, 'nothing is left open');
$session->quit;

# the last block of the segment, with an impossible header
$node->stop;
{
	open my $fh, '+<', $queue or die;
	my $last = (-s $fh) - 8192;

	sysseek $fh, $last + 12, 0;
	syswrite $fh, pack('SSS', 9, 4, 60000);
	close $fh;
}
$node->start;
$log = $node->log_size;
first_statement_ok("INSERT INTO shop.k_int4 VALUES (13, 'paid')", 'P1: an order when the block of the queue is broken');
like($node->log_since($log), qr/cannot write to table "queue_\d" of the queue: invalid page/, 'the log says so');
unlike($node->log_since($log), qr/leak/, 'nothing is left open');

done_testing();
