# P7 and P8: a server that logs all it can, customers with unmistakable names,
# and every way an event can take.  Afterwards none of it is found anywhere.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $token = 'EAAtokenQqXyzzy123456789';
my $second = 'EAAsecondWwXyzzy987654321';
my $app_secret = 'appsecretVvXyzzy5555';
my $sandbox = CapiTest::Sandbox->new('--token', $token, '--token', $second);
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0, conf => <<'EOC');
log_min_messages = debug5
log_min_error_statement = debug5
log_statement = all
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_min_duration_statement = 0
log_error_verbosity = verbose
debug_print_parse = on
debug_print_plan = on
track_activity_query_size = 65536
track_activities = on
capi.request_timeout = '1s'
capi.poll_interval = '500ms'
capi.query_timeout = '500ms'
EOC

# What of it must not be found, in any spelling that the values may have on their way.
my %private = (
	mail => qr/dorothea\.quixby|quixby/i,
	phone => qr/1515[ -]?5559\d\d\d|15155559/,
	name => qr/dorothea|zzyzxson/i,
	street => qr/nowhere[ -]?lane/i,
	address => qr/203\.0\.113\.77/,
	token => qr/\Q$token\E|\Q$second\E/,
	app_secret => qr/\Q$app_secret\E/);

# --- a shop with customers -------------------------------------------------------

$node->start;
# the shop's own statements are the shop's business, and how it logs them and
# their errors; preview() is one of them and runs with its caller's rights
$node->safe_psql('postgres', "CREATE ROLE shop_owner LOGIN; CREATE ROLE shop_app LOGIN");
foreach my $role (qw(shop_owner shop_app))
{
	$node->safe_psql('postgres', "ALTER ROLE $role SET $_")
	  foreach 'log_statement = none', 'log_min_duration_statement = -1', 'log_min_messages = fatal',
	  'debug_print_parse = off', 'debug_print_plan = off', 'log_min_error_statement = panic';
}
$node->create_shop;
$node->sql(q{
CREATE TABLE shop.customers (order_id bigint, email text, phone text, first_name text, last_name text,
    street text, address text, score text);
GRANT SELECT, INSERT, UPDATE ON shop.customers TO shop_app}, 'shop_owner');

my $token_file = $node->basedir . '/token';
append_to_file($token_file, "$token\n");
chmod 0600, $token_file;
my $key_file = $node->basedir . '/key';
append_to_file($key_file, 'k' x 64);
chmod 0600, $key_file;

$node->sql('CREATE EXTENSION capi');
$node->sql("SELECT capi.grant_access('shop_owner', 'admin')");
$node->create_dataset(access_token_file => $token_file);

my $query = q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.id::text AS order_id,
       c.email AS em, c.phone AS ph, c.first_name AS fn, c.last_name AS ln, c.address AS client_ip_address,
       'agent' AS client_user_agent, 'https://shop.example/' AS event_source_url, c.score::int AS num_items
  FROM shop.orders o JOIN shop.customers c ON c.order_id = o.id};
$node->attach(query => $query);
my $n = 0;

# Orders of people who must not be seen; returns their ids.
sub buy
{
	my ($count, %unusual) = @_;
	my %customer = (email => 'Dorothea.Quixby%s@Example.com', phone => '+1 515 5559%s', first_name => 'Dorothea',
		last_name => 'Zzyzxson', street => 'Nowhere Lane 12', address => '203.0.113.77', score => '3', %unusual);
	my @ids;

	foreach (1 .. $count)
	{
		my $number = sprintf '%03d', ++$n;
		my %values = map { $_ => $customer{$_} =~ s/%s/$number/r } keys %customer;
		my ($id) = $node->place_orders(1);

		$node->sql("INSERT INTO shop.customers (order_id, " . join(', ', sort keys %values) . ") VALUES ($id, "
			  . join(', ', map { "'$values{$_}'" } sort keys %values) . ')', 'shop_app');
		push @ids, $id;
	}
	return @ids;
}

sub buy_without_phone
{
	my ($id) = $node->place_orders(1);

	$node->sql("INSERT INTO shop.customers (order_id, email, first_name, score)"
		  . " VALUES ($id, 'dorothea.quixby\@example.com', 'Dorothea', '1')", 'shop_app');
	return $id;
}

my @snapshots;

sub look
{
	push @snapshots, $node->sql('SELECT * FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
	return;
}

# --- every way an event can take ---------------------------------------------------

$node->pay(buy(3));
$node->wait_until_idle;
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered'"), 3, 'delivered');
like(($sandbox->events)[0]{event}{user_data}{em}[0], qr/^[0-9a-f]{64}$/, 'hashed');

my ($refused) = buy(1);
$sandbox->misbehave(match => { event_id => "$refused" }, status => 400, code => 100, subcode => 2804008,
	message => 'Invalid value dorothea.quixby@example.com in em', user_msg => 'Not a hash: Dorothea Zzyzxson, Nowhere Lane');
$node->pay($refused);
$node->wait_until_idle;
is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$refused'"), 'rejected',
	'refused, with an answer that quotes the customer');

$sandbox->misbehave(status => 500, code => 2, is_transient => JSON::PP::true(),
	message => "'Nowhere Lane 12', +1 515 5559004, 203.0.113.77, token $token");
$node->pay(buy(2));
$node->wait_until_idle;
$sandbox->misbehave(status => 400, body => '{"error": {"message": "Dorothea Zzyzxson of Nowhere Lane", "code": 2, "fbtrace_id": "Dorothea-Quixby"}}');
$node->pay(buy(1));
$node->wait_until_idle;
is($node->sql("SELECT count(*) FROM capi.request_log WHERE message = '*** of ***' AND fbtrace_id IS NULL"), '1',
	'of words without quotes those stay that are known');
$sandbox->misbehave(body => "<html>dorothea.quixby\@example.com $token</html>", status => 502);
$node->pay(buy(2));
$node->wait_until_idle;
$sandbox->misbehave(hang => JSON::PP::true());
$node->pay(buy(1));
$sandbox->wait_for(hanging => 1);
look();
$node->wait_until_idle;
$sandbox->release;
pass('tried again after answers that quote customer and token');

# a value that cannot be sent, and one that no cast can take
$node->pay(buy(1, email => 'Dorothea Quixby at example', phone => 'ask Dorothea'));
my ($bad) = buy(1, score => 'Dorothea');
$node->pay($bad);
ok($node->wait_for("SELECT status = 'retrying' FROM capi.delivery_status WHERE order_key = '$bad'"),
	'an order whose data the query cannot take');

# a query that breaks, and one that is too slow, while values are in its hands
$node->sql('ALTER TABLE shop.customers RENAME COLUMN phone TO telephone', 'shop_owner');
$node->pay(buy_without_phone());
ok($node->wait_for("SELECT state = 'broken' FROM capi.source_status"), 'a broken query');
look();
$node->sql('ALTER TABLE shop.customers RENAME COLUMN telephone TO phone', 'shop_owner');

$node->sql("CREATE FUNCTION shop.slow(text) RETURNS text LANGUAGE plpgsql AS"
	  . " \$\$ BEGIN PERFORM pg_sleep(5); RAISE 'Dorothea %', \$1; END \$\$", 'shop_owner');
$node->sql("SELECT capi.alter_source('paid_orders', query => "
	  . "\$q\$" . $query =~ s/c\.email AS em/shop.slow(c.email) AS em/r . "\$q\$)", 'shop_owner');
$node->pay(buy(1));
ok($node->wait_for("SELECT count(*) >= 1 FROM capi.delivery_status WHERE reason ~ 'query_timeout'"), 'a query that is too slow');
look();
$node->sql("CREATE OR REPLACE FUNCTION shop.slow(text) RETURNS text LANGUAGE plpgsql AS"
	  . " \$\$ BEGIN RAISE WARNING 'Dorothea %', \$1; RAISE 'Dorothea %', \$1 USING DETAIL = \$1, HINT = \$1; END \$\$",
	'shop_owner');
$node->sql("SELECT capi.resume('paid_orders')", 'shop_owner');
ok($node->wait_for("SELECT count(*) > 1 FROM capi.delivery_status WHERE status = 'retrying'"), 'a query that raises');
look();
$node->sql("CREATE OR REPLACE FUNCTION shop.slow(text) RETURNS text LANGUAGE plpgsql AS"
	  . " \$\$ BEGIN RAISE NOTICE 'Dorothea %', \$1; EXECUTE 'SELECT ' || \$1; END \$\$", 'shop_owner');
$node->pay(buy(1));
ok($node->wait_for("SELECT count(*) > 0 FROM capi.delivery_status WHERE reason ~ 'SQLSTATE 42'"), 'a query whose function runs what it should not');
$node->refuses("SELECT * FROM capi.preview('paid_orders')", 'shop_owner');
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$$query\$q\$)", 'shop_owner');

# attach errors
foreach my $wrong (
	q{query => 'SELECT c.order_id AS key, c.first_name::int AS em FROM shop.customers c'},
	q{query => 'SELECT c.order_id AS key, c.nothing AS em FROM shop.customers c'},
	q{query => 'SELECT c.order_id AS key, c.email AS unknown_field FROM shop.customers c'})
{
	$node->refuses("SELECT capi.attach(source => 'wrong', table_name => 'shop.orders', dataset => 'main', $wrong)", 'shop_owner');
}
$node->sql("SELECT capi.detach('wrong')", 'shop_owner')
  if $node->sql("SELECT count(*) FROM capi.source_status WHERE source = 'wrong'") > 0;

# a token that is refused, replaced in its file, and one that is refused in SQL
$sandbox->post('tokens', { revoke => [$token] });
$node->pay(buy(2));
ok($node->wait_for("SELECT state = 'credential' FROM capi.health"), 'a dead token');
look();
unlink $token_file;
append_to_file($token_file, "$second\n");
$node->sql("SELECT capi.alter_dataset('main', events_per_hour => 100000)");
$node->wait_for("SELECT count(*) = 0 FROM capi.delivery_status WHERE status = 'queued'") or die;
$node->sql('SELECT * FROM capi.diagnose()');

# with deliver(), in a session that logs everything
$node->change('capi.databases' => '');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'")
  or die;
$node->pay(buy(2));
$node->sql("SET client_min_messages = debug5;\nCALL capi.deliver()");
my $preview = $node->sql("SELECT event FROM capi.preview('paid_orders', max_rows => 3)");
unlike($preview, $private{mail}, 'P7: preview() shows what would be sent');
$node->sql('SELECT * FROM capi.health; SELECT * FROM capi.request_log');
look();

# --- a secret in a statement ---------------------------------------------------------

# log_statement logs the statement before capi sees it, which no extension can
# help; a server that does not log all keeps it out, errors included
$node->change('capi.key_file' => $key_file);
my $quiet = 'SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_messages = warning;'
  . " SET debug_print_parse = off; SET debug_print_plan = off;\n";
$node->sql("$quiet SELECT capi.set_access_token('main', '$second')");
$node->sql("$quiet SELECT capi.alter_dataset(name => 'main', app_secret => '$app_secret')");
like($node->refuses("$quiet SELECT capi.set_access_token('nobody', '$second')"), qr/does not exist/,
	'an error beside a token');
like($node->refuses("$quiet SELECT capi.set_access_token('main', '$second with a space')"), qr/invalid access token/,
	'an error about a token');
like($node->refuses("$quiet SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => '$second')"),
	qr/already exists/, 'and one of create_dataset()');
like($node->refuses("$quiet PREPARE p AS SELECT capi.set_access_token(\$1, \$2); EXECUTE p('nobody', '$second')"),
	qr/does not exist/, 'and one of a prepared statement');
my $session = $node->session;
$session->sql("$quiet BEGIN; SELECT capi.set_access_token('main', '$second')");
look();
$session->sql('COMMIT');

# --- the search ------------------------------------------------------------------------

my %places = (
	'the server log' => slurp_file($node->logfile),
	'pg_stat_activity' => join("\n", @snapshots));
foreach my $table (split /\n/, $node->sql(q{SELECT oid::regclass FROM pg_class
	WHERE relnamespace = 'capi'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')}))
{
	$places{$table} = $node->sql("SELECT t::text FROM $table t");
}
$node->safe_psql('postgres', 'SELECT pg_stat_clear_snapshot()');
my $dump = $node->basedir . '/shop.sql';
command_ok([ 'pg_dump', '-d', $node->connstr('shop'), '-n', 'capi', '-f', $dump ], 'pg_dump of what is capi\'s');
$places{'the dump'} = slurp_file($dump);

cmp_ok(length $places{'the server log'}, '>', 1_000_000, 'the server logs all it can');
like($places{'the server log'}, qr/capi: running the query|capi\.delivery/, 'capi\'s work included');
like($places{'capi.delivery'}, qr/rejected/, 'the log of deliveries is read');
foreach my $place (sort keys %places)
{
	my @found = grep { $places{$place} =~ $private{$_} } sort keys %private;

	is("@found", '', "P7 P8: nothing in $place")
	  or diag(join "\n", map { $places{$place} =~ /^(.*$private{$_}.*)$/m ? substr($1, 0, 300) : '' } @found);
}

done_testing();
