# examples/managed-database: a shop whose database takes no library of others, and
# a server of one's own that follows it by logical replication.  Two real clusters.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $EXAMPLE = "$ENV{TESTDIR}/examples/managed-database";
my $sandbox = CapiTest::Sandbox->new;
my $shop = CapiTest::Node->create('managed', preload => 0, init => [ allows_streaming => 'logical' ]);
my $server = CapiTest::Node->create('own', sandbox => $sandbox, databases => 'mirror',
	conf => "max_worker_processes = 16\nwal_retrieve_retry_interval = '200ms'");
my $own = $server->in_database('mirror');
my $recipe = PostgreSQL::Test::Utils::tempdir() . '/recipe.sql';
my $time = time - 1000;

append_to_file($recipe, <<'SQL');
\set ON_ERROR_STOP on
SELECT capi.attach(source => 'orders', table_name => 'shop.sale', dataset => 'main',
    on_column => 'state', on_values => '{paid}', query => $query$
SELECT s.id AS key, s.placed_at AS event_time, s.total AS value, s.currency, s.email AS em,
       (SELECT jsonb_agg(i.sku ORDER BY i.id) FROM shop.item i WHERE i.sale_id = s.id) AS content_ids
  FROM shop.sale s WHERE s.state = 'paid'$query$);
SQL

# what a shop has, and more of it than anybody else need know
$shop->sql(q{
CREATE TYPE shop.sale_state AS ENUM ('cart', 'pending', 'paid', 'shipped');
CREATE TABLE shop.sale (id bigint PRIMARY KEY, state shop.sale_state NOT NULL, total numeric(12, 2) NOT NULL,
    currency char(3) NOT NULL, email text NOT NULL, card_number text, placed_at timestamptz NOT NULL);
CREATE TABLE shop.item (id bigint PRIMARY KEY, sale_id bigint NOT NULL, sku text NOT NULL, margin numeric);
CREATE TABLE shop.audit (at timestamptz, what text);
GRANT ALL ON ALL TABLES IN SCHEMA shop TO shop_app}, 'shop_owner');

my @sold;

sub place
{
	my ($state) = @_;
	my $id = 100 + @sold;

	push @sold, $id;
	$shop->sql("BEGIN; INSERT INTO shop.sale VALUES ($id, '$state', 9.99, 'EUR', 'a\@example.com', '4111', to_timestamp(" . ++$time . ")); "
		  . "INSERT INTO shop.item VALUES ($id, $id, 'SKU-$id', 3.5); COMMIT", 'shop_app');
	return $id;
}

sub pay { $shop->sql("UPDATE shop.sale SET state = 'paid' WHERE id = $_[0]", 'shop_app'); return }

sub received { return sort map { $_->{event_id} } $sandbox->events }

sub caught_up
{
	$shop->poll_query_until('postgres', "SELECT count(*) = 1 AND bool_and(pg_current_wal_lsn() <= replay_lsn AND state = 'streaming')"
		  . " FROM pg_stat_replication WHERE application_name = 'capi'") or die 'the subscriber does not catch up';
	$own->wait_until_idle;
	return;
}

sub check
{
	my ($name) = @_;

	return $own->sql("SELECT ok, detail, hint FROM capi.diagnose() WHERE \"check\" = '$name'");
}

my $TABLES = 'shop.sale (id, state, total, currency, email, placed_at), shop.item (id, sale_id, sku)';

sub publish
{
	my ($tables) = @_;
	my ($out, $err) = run_command([ 'psql', '-XqAt', '-v', "tables=$tables", '-f', "$EXAMPLE/publish.sql",
			$shop->connstr('shop') ]);

	return $err;
}

# --- a publication that would break the shop is refused --------------------------

like(publish('shop.sale (id, state), shop.audit (at)'), qr/would break the shop.*audit: no replica identity/s,
	'a table without a key');
like(publish('shop.sale (state, total)'), qr/the columns of shop\.sale_pkey must be among/, 'a key that is left out');
like(publish('shop.sale'), qr/sale: name its columns/, 'everything');
$shop->sql('ALTER TABLE shop.item REPLICA IDENTITY FULL');
like(publish('shop.item (id, sku)'), qr/no column can be left out/, 'a replica identity of all columns');
$shop->sql('ALTER TABLE shop.item REPLICA IDENTITY DEFAULT');
is($shop->sql('SELECT count(*) FROM pg_publication'), 0, 'and nothing of it is left');
place('cart');
pay($sold[0]);

# --- set up ------------------------------------------------------------------------

place('paid') foreach 1 .. 3;
my $open = place('pending');
$server->sql("CREATE DATABASE mirror OWNER shop_owner");
$own->install_capi;
my %environment = (SHOP => $shop->connstr('shop'), OWN => $own->connstr('mirror'), TABLES => $TABLES,
	REPLICATION => $shop->connstr('shop') . ' application_name=capi', RECIPE => $recipe, OWNER => 'shop_owner', WAIT => 180);
my ($out, $err);
{
	local @ENV{ keys %environment } = values %environment;
	($out, $err) = run_command(["$EXAMPLE/setup.sh"]);
}
like($out, qr/captured of what was copied: 0/, 'it is set up, and what was copied is history') or diag($err);
like($out, qr/subscription capi \| ok/, 'diagnose() names the subscription');
is($own->sql('SELECT count(*) FROM shop.sale'), 5, 'the orders are there');
is($own->sql(q{SELECT string_agg(attname, ' ' ORDER BY attrelid = 'shop.item'::regclass, attnum) FROM pg_attribute WHERE attrelid IN ('shop.sale'::regclass, 'shop.item'::regclass) AND attnum > 0}),
	'id state total currency email placed_at id sale_id sku', 'of what was published, and nothing else');

# --- the rule on what arrives --------------------------------------------------------

pay($open);
my $new = place('pending');
my $at_once = place('paid');
pay($new);
$shop->sql("UPDATE shop.sale SET card_number = NULL; UPDATE shop.sale SET state = state; UPDATE shop.sale SET state = 'shipped' WHERE id = $open; "
	  . "UPDATE shop.sale SET state = 'paid' WHERE id = $open");
$shop->sql("BEGIN; UPDATE shop.sale SET state = 'pending' WHERE id = $sold[1]; ROLLBACK");
caught_up();
is_deeply([ received() ], [ sort $open, $new, $at_once ], 'transitions are seen on replicated updates, once each');
$own->sql("SELECT capi.pause('orders'); SELECT capi.resume('orders')");

# --- the publisher's DDL ---------------------------------------------------------------

$shop->sql('ALTER TABLE shop.sale ADD note text');
my $noted = place2();
caught_up();
is_deeply([ received() ], [ sort $open, $new, $at_once, $noted ], 'a new column stays where it is');

sub place2
{
	my $id = 100 + @sold;

	push @sold, $id;
	$shop->sql("INSERT INTO shop.item VALUES ($id, $id, 'SKU-$id', 1); INSERT INTO shop.sale (id, state, total, currency, email, placed_at) "
		  . "VALUES ($id, 'paid', 9.99, 'EUR', 'a\@example.com', to_timestamp(" . ++$time . "))");
	return $id;
}

like($shop->refuses('ALTER TABLE shop.item DROP sku'), qr/cannot drop column sku .*publication/s, 'a published column cannot be dropped');
$shop->sql('ALTER PUBLICATION capi SET TABLE shop.sale (id, state, total, currency, email, placed_at), shop.item (id, sale_id)');
$shop->sql('ALTER TABLE shop.item DROP sku');
caught_up();
is(check('subscription capi') =~ s/\|.*//sr, 't', 'one that is taken out of the publication first can');

$shop->sql('ALTER TABLE shop.sale RENAME total TO amount');
$shop->sql("INSERT INTO shop.sale (id, state, amount, currency, email, placed_at) VALUES (900, 'paid', 5, 'EUR', 'a\@example.com', now() - interval '1 minute')");
# its worker starts and fails, five times a second
ok($own->wait_for(q{SELECT NOT ok AND detail ~ 'stands still: its worker does not run; [1-9][0-9]* errors' AND hint ~ 'renamed'
   FROM capi.diagnose() WHERE "check" = 'subscription capi'}), 'a renamed column stops the subscription, and diagnose() says so');
$own->sql('ALTER TABLE shop.sale RENAME total TO amount');
$own->sql("SELECT capi.alter_source(source => 'orders', query => "
	  . q{'SELECT s.id AS key, s.placed_at AS event_time, s.amount AS value, s.currency, s.email AS em FROM shop.sale s WHERE s.state = ''paid''')}, 'shop_owner');
caught_up();
is_deeply([ received() ], [ sort $open, $new, $at_once, $noted, 900 ], 'renamed here, too: the order arrives');

# --- a slot that falls behind -----------------------------------------------------------

$own->sql('ALTER SUBSCRIPTION capi DISABLE');
my @late = map { my $id = 910 + $_;
	$shop->sql("INSERT INTO shop.sale (id, state, amount, currency, email, placed_at) VALUES ($id, 'paid', 5, 'EUR', 'a\@example.com', now() - interval '1 minute')");
	$id } 1 .. 5;
like(check('subscription capi'), qr/^f\|It is disabled: no order arrives\.\|ALTER SUBSCRIPTION capi ENABLE/, 'a disabled one is named');
is($shop->sql("SELECT active, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) > 0 FROM pg_replication_slots WHERE slot_name = 'capi'"), 'f|t',
	'its slot keeps what it has not taken');
$own->sql('ALTER SUBSCRIPTION capi ENABLE');
caught_up();
is_deeply([ received() ], [ sort $open, $new, $at_once, $noted, 900, @late ], 'and it catches up');

# --- a slot that was given up: copied anew ------------------------------------------------

$own->sql('ALTER SUBSCRIPTION capi DISABLE');
$shop->poll_query_until('postgres', "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'capi'") or die;
$shop->sql("SELECT pg_drop_replication_slot('capi')");
$shop->sql("INSERT INTO shop.sale (id, state, amount, currency, email, placed_at) VALUES (990, 'paid', 5, 'EUR', 'a\@example.com', now() - interval '1 minute')");
$own->sql("SELECT capi.alter_source(source => 'orders', fire_on_replica => false)", 'shop_owner');
$own->sql('ALTER SUBSCRIPTION capi SET (slot_name = NONE)');
$own->sql('DROP SUBSCRIPTION capi');
$own->sql('TRUNCATE shop.sale, shop.item');
my $from = $environment{REPLICATION} =~ s/'/''/gr;
$own->sql("CREATE SUBSCRIPTION capi CONNECTION '$from' PUBLICATION capi");
$own->wait_for("SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate <> 'r'") or die;
$own->sql("SELECT capi.alter_source(source => 'orders', fire_on_replica => true)", 'shop_owner');
$own->wait_until_idle;
is($own->sql("SELECT count(*) FROM capi.delivery_status WHERE order_key = '990'"), 0, 'what came meanwhile is history, too');
$own->sql("CALL capi.backfill(source => 'orders', since => now() - interval '10 minutes')", 'shop_owner');
caught_up();
is_deeply([ received() ], [ sort $open, $new, $at_once, $noted, 900, @late, 990 ], 'backfill() finds it, and nothing is sent twice');
is((sort { $b <=> $a } map { $_->{count} } $sandbox->events)[0], 1, 'nothing at all');

done_testing();
