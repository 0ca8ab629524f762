# P1 and P3: orders are placed while capi's own tables cannot be written, read or
# locked.  What has another place to go to is delivered; what has none is counted.
# slow
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(system_or_bail);

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	init => [ extra => [ '--encoding=UTF8', '--locale=C.UTF-8', '--wal-segsize=1' ] ],
	conf => "capi.poll_interval = '100ms'\nmax_connections = 20\nmax_locks_per_transaction = 10\nautovacuum = off");
$node->install_capi;
$node->attach;

# rows that could not even be noted in the queue
sub unnoted
{
	my ($detail) = $node->sql("SELECT detail FROM capi.diagnose() WHERE \"check\" = 'captures'") =~ /^(\d+)/;

	return $detail;
}

sub file
{
	my ($table) = @_;

	return $node->data_dir . '/' . $node->sql("SELECT pg_relation_filepath('$table')");
}

sub segment_sizes
{
	return $node->sql("SELECT string_agg(pg_relation_size(s)::text, ' ' ORDER BY s)"
		  . " FROM unnest('{capi.queue_0,capi.queue_1,capi.queue_2,capi.queue_3,capi_reserve.queue}'::regclass[]) s");
}

# --- a file that cannot be read ------------------------------------------------

$node->pay($node->place_orders(3));
$node->wait_until_idle;
my $file = file('capi.queue_' . $node->sql('SELECT segment FROM capi.state'));
$node->sql("ALTER SYSTEM SET capi.enabled = off");
$node->stop;
chmod 0, $file or die;
$node->start;
my $log = $node->log_size;
my $app = $node->session(role => 'shop_app');
unlike($app->sql("INSERT INTO shop.orders (total, email, status, paid_at)"
		  . " VALUES (1, 'unreadable\@example.com', 'paid', now())") // '', qr/ERROR/,
	'P1: an order while the file of a segment cannot be read');
$app->sql("INSERT INTO shop.orders (total, email, status, paid_at) VALUES (1, 'again\@example.com', 'paid', now())");
is($node->sql("SELECT count(*) FROM shop.orders WHERE email IN ('unreadable\@example.com', 'again\@example.com')"), 2,
	'P1: it is there');
is(() = $node->log_since($log) =~ /cannot write to table "queue_\d" of the queue: could not open file/g, 1,
	'the log says so, once in a session');
$app->quit;
$node->stop;
chmod 0600, $file or die;
$node->sql('SELECT 1') if $node->start;
$node->sql("ALTER SYSTEM RESET capi.enabled");
$node->reload;
$node->wait_for("SELECT current_setting('capi.enabled') = 'on'") or die;
$node->wait_until_idle;
$node->deliveries_ok('P3: what was captured elsewhere is delivered');

# --- a disk that is full --------------------------------------------------------

# Every file may have 1.25 MB, in processes that begin now.  One row of tickets
# is eight of the queue, so it is a segment that reaches the limit first.
$node->sql('CREATE TABLE shop.tickets (id int)');
$node->sql('GRANT INSERT ON shop.tickets TO shop_app');
$node->sql("SELECT capi.attach('t' || n, 'shop.tickets', 'main', key_columns => '{id}', query =>"
	  . " 'SELECT id AS key, now() AS event_time, ''read'' AS ignore_reason FROM shop.tickets') FROM generate_series(1, 8) n");
$node->sql("ALTER SYSTEM SET capi.enabled = off");
$node->restart;
my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
system_or_bail('prlimit', "--pid=$postmaster", '--fsize=1310720:');
$app = $node->session(role => 'shop_app');
$app->sql('INSERT INTO shop.tickets SELECT generate_series(1, 5000)');
is($node->sql('SELECT count(*) FROM shop.tickets'), 5000, 'P1: orders on a full disk');
like(segment_sizes(), qr/\b1310720 [1-9]\d+/, 'one segment is as large as may be, the rest is in the next');
is($node->sql("SELECT count(*) FROM capi._unread u JOIN capi.source s ON s.id = u.source_id WHERE s.name LIKE 't_'"), 40000,
	'P3: each of them is noted');
is(unnoted(), 0, 'and none was missed');
$app->quit;
$node->sql("ALTER SYSTEM RESET capi.enabled");
$node->restart;
$node->wait_until_idle;
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE source LIKE 't_' AND status = 'ignored'"), 40000,
	'P3: all of them are read when there is room again');

# --- a value that cannot be read ------------------------------------------------

$node->sql('CREATE EXTENSION pg_surgery');
$node->sql('CREATE TABLE shop.parts (id text, created_at timestamptz, status text);'
	  . ' ALTER TABLE shop.parts ALTER id SET STORAGE EXTERNAL, ALTER status SET STORAGE EXTERNAL;'
	  . ' ALTER TABLE shop.parts SET (toast_tuple_target = 128)');
my $parts = "query => 'SELECT id AS key, created_at AS event_time FROM shop.parts', key_columns => '{id}'";
$node->sql("SELECT capi.attach('key_lost', 'shop.parts', 'main', on_column => 'created_at', $parts)");
$node->sql("SELECT capi.attach('status_lost', 'shop.parts', 'main', on_column => 'status',"
	  . " on_values => ARRAY[repeat('paid', 600)], $parts)");
$node->sql("INSERT INTO shop.parts VALUES (repeat('k', 600), NULL, repeat('open', 600))");
my $toast = $node->sql("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'shop.parts'::regclass");
$node->sql("SELECT heap_force_kill('$toast'::regclass, ARRAY(SELECT ctid FROM $toast))");
$node->sql("UPDATE shop.parts SET created_at = now()");
$node->sql("UPDATE shop.parts SET status = repeat('paid', 600)");
$node->wait_for("SELECT count(*) = 2 AND min(missed_captures) = 1 AND max(missed_captures) = 1 FROM capi.source_status WHERE source LIKE '%lost'");
is($node->sql("SELECT string_agg(source || ' ' || missed_captures, ', ' ORDER BY source)"
		  . " FROM capi.source_status WHERE source LIKE '%lost'"),
	'key_lost 1, status_lost 1', 'P1: a value that is lost is a miss of that source');

# --- no room for a lock ----------------------------------------------------------

# The order's session has used up the locks that need no room.  Room is made, one
# by one, until the order finds it; there is none for capi's then.
$node->sql("ALTER SYSTEM SET capi.databases = ''");
$node->sql('CREATE TABLE shop.tiny (id int)');
$node->sql("SELECT capi.attach('tiny', 'shop.tiny', 'main', key_columns => '{id}',"
	  . " query => 'SELECT id AS key, now() AS event_time FROM shop.tiny')");
$node->sql("CREATE TABLE shop.t$_ (id int)") foreach 1 .. 15;
$node->restart;
my $hog = $node->session;
my $order = $node->session;
my $many = join('; ', map { "SELECT count(*) FROM shop.$_" } 'tiny', map { "t$_" } 1 .. 15);
my $before = unnoted();

# all that the catalogs have to say is known before
$order->sql("BEGIN; $many; INSERT INTO shop.tiny VALUES (1); ROLLBACK");
$hog->sql('SET client_min_messages = error');
$hog->sql('DO $$ DECLARE n int := 0; BEGIN LOOP n := n + 1; PERFORM pg_advisory_lock(n);'
	  . ' END LOOP; EXCEPTION WHEN out_of_memory THEN NULL; END $$');
my $answer = '';
foreach my $n (1 .. 50)
{
	$order->sql("BEGIN; $many");
	$hog->sql("SELECT pg_advisory_unlock($n)");
	$order->send("INSERT INTO shop.tiny VALUES (2)");
	$answer = $order->answer;
	$order->sql($answer =~ /ERROR/ ? 'ROLLBACK' : 'COMMIT');
	last unless $answer =~ /out of shared memory/;
}
is($answer, '', 'P1: the order takes the last lock there is');
$hog->sql('SELECT pg_advisory_unlock_all()');
is($node->sql('SELECT count(*) FROM shop.tiny'), 1, 'P1: and is there');
is(unnoted(), $before + 1, 'its event is counted as missed');
$order->quit;

# --- rules that were loaded past the trigger which keeps their copy -------------

$node->sql('DELETE FROM capi_reserve.source');
$hog->sql('BEGIN; LOCK TABLE capi.source');
$node->sql('INSERT INTO shop.tiny VALUES (3)');
$hog->sql('COMMIT');
is(unnoted(), $before + 2, 'P10: no rule in the copy is not taken for none at all');
$node->sql('INSERT INTO shop.tiny VALUES (4)');
is($node->sql("SELECT string_agg(key, ' ') FROM capi._unread u JOIN capi.source s ON s.id = u.source_id WHERE s.name = 'tiny'"),
	4, 'P3: and the next is captured');

done_testing();
