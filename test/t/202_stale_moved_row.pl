# P1: a row left its partition and did not come, for a trigger of the shop's refused
# it.  Who moved it is not asked of the server much later, by the next order of the
# session, when a VACUUM has long forgotten.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '100ms'\nautovacuum = off\ncapi.enabled = off");
$node->install_capi;
$node->sql('CREATE TABLE shop.parted (id int, place int, state text) PARTITION BY LIST (place);'
	  . ' CREATE TABLE shop.one PARTITION OF shop.parted FOR VALUES IN (1);'
	  . ' CREATE TABLE shop.two PARTITION OF shop.parted FOR VALUES IN (2)');
$node->sql("SELECT capi.attach('parted', 'shop.parted', 'main', key_columns => '{id}', on_column => 'state',"
	  . " on_values => '{paid}', query => 'SELECT id AS key, now() AS event_time FROM shop.parted')");
$node->sql("CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'it stays'; END \$\$;"
	  . ' CREATE TRIGGER zz_stays AFTER DELETE ON shop.parted FOR EACH ROW EXECUTE FUNCTION shop.refuse()');
$node->sql("INSERT INTO shop.parted VALUES (1, 1, 'open')");

# locked by a transaction and moved by a part of it: that is a multixact
my $session = $node->session;
$session->sql('BEGIN');
$session->sql('SELECT id FROM shop.parted FOR KEY SHARE');
$session->sql("DO \$\$ BEGIN UPDATE shop.parted SET place = 2; EXCEPTION WHEN raise_exception THEN NULL; END \$\$");
$session->sql('COMMIT');

# everything is frozen, and multixacts are forgotten
$node->sql('ALTER DATABASE template0 ALLOW_CONNECTIONS true');
$node->sql('SELECT pg_current_xact_id()');
foreach my $database (qw(template0 template1 postgres shop))
{
	$node->safe_psql($database, 'SET vacuum_multixact_freeze_min_age = 0; SET vacuum_multixact_freeze_table_age = 0; VACUUM (FREEZE)');
}
isnt($node->sql("SELECT min(datminmxid::text::bigint) FROM pg_database"), 1, 'the multixact is forgotten');
is(eval { $session->sql("INSERT INTO shop.parted VALUES (2, 2, 'paid') RETURNING id") } // $@, 2,
	'P1: the next order of the session is placed');
is($node->sql("SELECT string_agg(key, ' ') FROM capi._unread"), 2, 'and noted');
$session->quit;

done_testing();
