# P12, P13: readers come and go with the work; whatever ends one, nothing is lost,
# and neither process has in its memory what is the other's.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(slurp_file);

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0, conf => "max_worker_processes = 16\n");
my $key_file = $node->basedir . '/key';

PostgreSQL::Test::Utils::append_to_file($key_file, 'k' x 64);
chmod 0600, $key_file;
$node->append_conf('postgresql.conf', "capi.key_file = '$key_file'");
$node->start;
$node->create_shop;
$node->install_capi;
$node->sql(q{
CREATE TABLE shop.gate (is_open boolean);
INSERT INTO shop.gate VALUES (true);
CREATE FUNCTION shop.pass() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    WHILE NOT (SELECT is_open FROM shop.gate) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN NULL;
END $$}, 'shop_owner');
$node->attach(query => q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em, shop.pass() AS content_name,
       'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent FROM shop.orders o});

sub gate { $node->sql('UPDATE shop.gate SET is_open = ' . ($_[0] ? 'true' : 'false'), 'shop_owner'); return }

# The pid of the reader at work.
sub reader
{
	$node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'capi reader' AND wait_event = 'PgSleep'")
	  or die 'no reader works';
	return $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'capi reader' AND wait_event = 'PgSleep'");
}

sub no_reader { return $node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi reader'") }

# --- life --------------------------------------------------------------------

is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'capi reader'"), 0, 'P12: without work there is no reader');
$node->pay($node->place_orders(5));
$node->wait_until_idle;
is($node->sql("SELECT count(*) <= 2 FROM pg_stat_activity WHERE backend_type = 'capi reader'"), 't', 'P12: with work there are a few');
is($node->sql("SELECT string_agg(DISTINCT coalesce(xact_start::text, 'none'), '') FROM pg_stat_activity WHERE backend_type = 'capi reader'"),
	'none', 'P11: one without work holds no transaction');

# a cancel that comes too late is for nobody
my $log = $node->log_size;
$node->sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'capi reader'");
$node->pay($node->place_orders(2));
$node->wait_until_idle;
$node->deliveries_ok('P3: a reader without work is cancelled');
unlike($node->log_since($log), qr/ERROR|FATAL/, 'P12: which is no error');

# ended by hand: once is nothing, twice costs the one order its time
my $dispatcher = $node->dispatcher_pid;
foreach my $what ('pg_terminate_backend', 'pg_cancel_backend')
{
	gate(0);
	my @ids = $node->place_orders(3);
	$node->pay(@ids);
	my $pid = reader();
	$node->sql("SELECT $what($pid)");
	gate(1);
	ok($node->wait_for("SELECT count(*) = 3 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('" . join("', '", @ids) . "')", 90),
		"P3: $what of a reader loses nothing");
}
gate(0);
my @ids = $node->place_orders(2);
$node->pay(@ids);
foreach my $time (1 .. 3)
{
	my $pid = reader();
	$node->sql("SELECT pg_terminate_backend($pid, 5000)");
}
gate(1);
$node->wait_for("SELECT count(*) FILTER (WHERE status = 'delivered') >= 1 FROM capi.delivery_status WHERE order_key IN ('" . join("', '", @ids) . "')");
$node->sql('UPDATE capi.backlog SET next_attempt_at = now()');
$node->reload;
$node->wait_until_idle;
$node->deliveries_ok('P3: ended again and again');
is($node->dispatcher_pid, $dispatcher, 'P6: the dispatcher is the same process');

# a server that crashes with a reader: all is read again, nothing sent twice
gate(0);
$node->pay($node->place_orders(3));
kill 'KILL', reader();
$node->poll_query_until('postgres', 'SELECT true') or die;
$node->wait_for('SELECT true');
gate(1);
$node->wait_until_idle;
$node->deliveries_ok('P3: kill -9 of a reader at work');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
my $idle = $node->sql("SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'capi reader'");
kill 'KILL', $idle;
$node->poll_query_until('postgres', 'SELECT true') or die;
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->deliveries_ok('P3: kill -9 of a reader without work');

# a reload reaches readers, and their number changes
$node->change('capi.readers' => 1);
$node->pay($node->place_orders(3));
$node->wait_until_idle;
$node->deliveries_ok('P12: with one reader');
$node->change('capi.readers' => 2);

# the role goes
$node->sql('CREATE ROLE leaver LOGIN; GRANT USAGE ON SCHEMA shop TO leaver; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO leaver;
	GRANT TRIGGER ON shop.orders TO leaver');
$node->sql("SELECT capi.grant_access('leaver', 'admin')");
$node->sql("SELECT capi.attach(source => 'left', table_name => 'shop.orders', dataset => 'main', event_name => 'Lead', on_column => 'status',
	on_values => ARRAY['left'], query => \$q\$SELECT o.id AS key, now() AS event_time, o.email AS em, '203.0.113.8' AS client_ip_address,
	'agent' AS client_user_agent, 'left-' || o.id AS event_id FROM shop.orders o\$q\$)", 'leaver');
$node->sql("DROP OWNED BY leaver; DROP ROLE leaver");
my ($left) = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET status = 'left' WHERE id = $left", 'shop_app');
ok($node->wait_for("SELECT state = 'broken' FROM capi.source_status WHERE source = 'left'"), 'P6: a role that is gone breaks its source');
$node->pay($node->place_orders(3));
ok($node->wait_for("SELECT count(*) = 0 FROM capi.delivery_status WHERE source = 'paid_orders' AND status <> 'delivered'"), 'P6: and no other');
$node->sql("SELECT capi.detach('left')");

# the extension goes while a reader works
gate(0);
$node->pay($node->place_orders(1));
reader();
my $began = time;
$node->sql('DROP EXTENSION capi CASCADE');
cmp_ok(time - $began, '<', 5, 'P12: DROP EXTENSION does not wait for a query of the shop');
ok(no_reader(), 'P12: and the reader ends');
gate(1);
$node->install_capi;
$node->attach;
$node->pay($node->place_orders(1));
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE status = 'delivered'"), 'P12: the next extension works');

# --- what is in whose memory -------------------------------------------------

# Which of the texts are in what a process has of its own.
sub found_in
{
	my ($pid, @texts) = @_;
	my %found;

	open my $mem, '<:raw', "/proc/$pid/mem" or die "cannot read the memory of $pid: $!";
	foreach my $mapping (split /\n/, slurp_file("/proc/$pid/maps"))
	{
		my ($from, $until) = $mapping =~ /^([0-9a-f]+)-([0-9a-f]+) rw.p/ or next;
		my ($at, $end, $tail) = (hex $from, hex $until, '');

		while ($at < $end)
		{
			my $size = $end - $at < 1 << 20 ? $end - $at : 1 << 20;

			last unless sysseek($mem, $at, 0) && sysread($mem, my $bytes, $size);
			$bytes = $tail . $bytes;
			foreach my $text (@texts)
			{
				$found{$text} = 1 if index($bytes, $text) >= 0;
			}
			$tail = substr $bytes, -100;
			$at += $size;
		}
	}
	close $mem;
	return join ' ', sort keys %found;
}

my ($mail, $name) = ('dorothea.' . 'xyzzy@example.com', 'Dorothea' . 'Xyzzy');
my $token = $CapiTest::Node::TOKEN;
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em, '$name' || o.id AS fn,
       'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent FROM shop.orders o\$q\$)", 'shop_owner');
my ($id) = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET email = '$mail' WHERE id = $id", 'shop_owner');
$sandbox->misbehave(hang => JSON::PP::true());
my $before = $sandbox->hanging;
$node->pay($id);
$sandbox->wait_for(hanging => $before + 1) or die;
is(found_in($node->dispatcher_pid, $token), $token, 'P13: while a request is under way its process has the token');
is(found_in($node->dispatcher_pid, $mail, "$name$id"), '', 'P13: and no value of the customer');
foreach my $pid (split /\n/, $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'capi reader'"))
{
	is(found_in($pid, $token), '', 'P13: no reader has the token');
}
$sandbox->behave;
$sandbox->release;
$node->wait_until_idle;

done_testing();
