# P6: one bad thing never stops another: several sources and datasets, of which
# some are broken, paused, slow or hanging.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $other = $sandbox->another;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.request_timeout = '10min'\ncapi.poll_interval = '10min'");

$node->install_capi;
$node->create_dataset(name => 'other', dataset_id => '222', endpoint => $other->url);
$node->sql(q{
CREATE TABLE shop.letters (id int PRIMARY KEY, email text, at timestamptz DEFAULT now());
CREATE TABLE shop.carts (id int PRIMARY KEY, email text, at timestamptz DEFAULT now());
GRANT INSERT ON shop.letters, shop.carts TO shop_app}, 'shop_owner');
$node->attach;
foreach my $table (qw(letters carts))
{
	$node->attach(source => $table, table_name => "shop.$table", event_name => ucfirst $table,
		dataset => $table eq 'letters' ? 'other' : 'main', on_column => undef, on_values => undef,
		query => "SELECT t.id AS key, t.at AS event_time, t.email AS em, '$table-' || t.id AS event_id,"
		  . " 'https://shop.example/' AS event_source_url, 'agent' AS client_user_agent FROM shop.$table t");
}

my %last = (letters => 0, carts => 0);

sub insert
{
	my ($table, $count) = @_;
	my $from = $last{$table} + 1;

	$last{$table} += $count;
	$node->sql("INSERT INTO shop.$table SELECT n, '$table.' || n || '\@example.com'"
		  . " FROM generate_series($from, $last{$table}) n", 'shop_app');
	return;
}

sub received
{
	my ($which, $table) = @_;

	return sort { $a <=> $b }
	  map { $_->{event_id} =~ s/^$table-//r }
	  $which->events(event_name => ucfirst $table, brief => 1);
}

sub each_once_ok
{
	my ($which, $table, $name) = @_;

	is(join(' ', received($which, $table)), join(' ', 1 .. $last{$table}), $name);
	is((scalar grep { $_->{count} > 1 } $which->events(event_name => ucfirst $table, brief => 1)), 0,
		"$name, and once");
	return;
}

# --- one broken, one paused --------------------------------------------------

$node->sql('ALTER TABLE shop.letters RENAME COLUMN email TO mail');
$node->sql("SELECT capi.pause('carts')");
insert(letters => 40);
insert(carts => 60);
my @paid = $node->place_orders(30);
$node->pay(@paid);
ok($sandbox->wait_for(distinct_events => 30, timeout_s => 10), 'P6: the third source goes on');
is($node->sql("SELECT source, state FROM capi.source_status ORDER BY source"),
	"carts|paused\nletters|broken\npaid_orders|active", 'P10: each has its state');
is($node->sql("SELECT source, reason, count(*) FROM capi.delivery_status WHERE status = 'queued' GROUP BY 1, 2 ORDER BY 1"),
	"carts|source paused|60\nletters|source broken|40", 'P10: what waits says for what');
$node->sql('ALTER TABLE shop.letters RENAME COLUMN mail TO email');
$node->sql("SELECT capi.resume('carts'), capi.resume('letters')");
$node->wait_until_idle;
each_once_ok($other, 'letters', 'P3: mended, each event of the broken source arrives');
each_once_ok($sandbox, 'carts', 'P3: resumed, each event of the paused source arrives');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status <> 'delivered'"), 0,
	'P10: and nothing else is on record');

# --- a dataset with a dead token, and one that is paused -----------------------

$sandbox->post('tokens', { revoke => ['sandbox-token'] });
$node->pay($node->place_orders(20));
insert(carts => 20);
ok($node->wait_for("SELECT state = 'credential' FROM capi.health WHERE dataset = 'main'"), 'P6: a dead token');
insert(letters => 20);
ok($other->wait_for(distinct_events => 60, timeout_s => 10), 'P6: the other dataset goes on');
$node->sql("SELECT capi.pause_dataset('other')");
insert(letters => 10);
$sandbox->post('tokens', { add => ['sandbox-token'] });
$node->sql("SELECT capi.resume_dataset('main')");
ok($sandbox->wait_for(distinct_events => 130, timeout_s => 10), 'P6: a paused dataset does not stop the first one');
$node->sql("SELECT capi.resume_dataset('other')");
$node->wait_until_idle;
each_once_ok($other, 'letters', 'P3: after the pause');
each_once_ok($sandbox, 'carts', 'P3: after the dead token');

# --- a query that takes too long -----------------------------------------------

$node->change('capi.query_timeout' => '1s');
$node->sql(q{CREATE FUNCTION shop.doze() RETURNS text LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(60); END $$}, 'shop_owner');
my $query = $node->sql("SELECT query FROM capi.source WHERE name = 'carts'");
$node->sql("SELECT capi.alter_source('carts', query => \$q\$"
	  . $query =~ s/SELECT t.id AS key/SELECT t.id AS key, shop.doze() AS fn/r . "\$q\$)", 'shop_owner');
insert(carts => 1);
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE source = 'carts' AND reason ~ 'query_timeout'"), 'P6: a query that is too slow');
is($node->sql("SELECT attempts || ' ' || (next_attempt_at > now() + interval '5 s') FROM capi.delivery_status WHERE source = 'carts' AND reason ~ 'query_timeout'"),
	'1 true', 'P6: its order is tried again after a while');
$node->sql("SELECT capi.alter_source('carts', query => \$q\$$query\$q\$)", 'shop_owner');
$node->sql('UPDATE capi.backlog SET next_attempt_at = now()');
$node->reload;
$node->wait_until_idle;

# --- a dataset that hangs, and one that is slow --------------------------------

# Seconds until one letter arrives.
sub latency
{
	my $goal = $other->stats->{distinct_events} + 1;
	my $began = time;

	insert(letters => 1);
	$other->wait_for(distinct_events => $goal, timeout_s => 20);
	return time - $began;
}

$sandbox->misbehave(hang => JSON::PP::true(), times => undef);
insert(carts => 4000);
$sandbox->wait_for(hanging => 4, timeout_s => 10) or diag('fewer than four requests hang');
cmp_ok(latency(), '<', 3, 'P6: a hanging dataset does not hold up another one');
insert(carts => 14_000);
my @latencies = map { latency() } 1 .. 3;
is((scalar grep { $_ > 3 } @latencies), 0, 'P6: nor when a lot waits for it') or diag("@latencies");
is((scalar grep { $_->{outcome} eq 'hanging' } $sandbox->requests), 4, 'it has capi.max_in_flight requests under way');
my $session = $node->session(role => 'shop_app');
foreach my $n ($last{letters} + 1 .. $last{letters} + 400)
{
	$session->sql("INSERT INTO shop.letters VALUES ($n, 'letters.$n\@example.com')");
}
$last{letters} += 400;
ok($other->wait_for(distinct_events => $last{letters}, timeout_s => 10),
	'P6: nor when hundreds of passes over the queue are unfinished because of it');
insert(letters => 3000);
ok($other->wait_for(distinct_events => $last{letters}, timeout_s => 10), 'P6: nor when there is a lot to send');
cmp_ok($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'queued' AND reason = 'dataset is slow'"),
	'>', 8_000, 'P10: what waits for the slow one says so');
my $pid = $node->dispatcher_pid;
my $used = $node->cpu_seconds($pid);
usleep(1_000_000);
cmp_ok($node->cpu_seconds($pid) - $used, '<', 0.3, 'P12: to wait for it costs no processor');
$sandbox->behave;
$sandbox->misbehave(delay_ms => 1000, times => undef);
$sandbox->release;
@latencies = map { latency() } 1 .. 3;
is((scalar grep { $_ > 3 } @latencies), 0, 'P6: a slow dataset does not hold up another one') or diag("@latencies");
$sandbox->behave;
$node->wait_until_idle;
each_once_ok($other, 'letters', 'P3: the quick one');
each_once_ok($sandbox, 'carts', 'P3: the slow one');

done_testing();
