# pg_dump by the owner of the database, who is no superuser and has a duty of capi's;
# what it can read for that, and what a superuser's queries cannot.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $token = 'EAAdumpedQqXyzzy1234567890';
my $sandbox = CapiTest::Sandbox->new('--token', $token);
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop', start => 0);
my $key_file = $node->basedir . '/key';

append_to_file($key_file, 'k' x 64);
chmod 0600, $key_file;
$node->append_conf('postgresql.conf', "capi.key_file = '$key_file'");
$node->start;
$node->create_shop;
$node->sql("ALTER DATABASE shop OWNER TO shop_owner");
$node->install_capi(access_token => $token, app_secret => 'a-dumped-secret');
$node->attach;
$node->pay($node->place_orders(3));
ok($sandbox->wait_for(events => 3), 'events were delivered');
$node->wait_until_idle;
$node->sql("SELECT capi.pause_dataset('main')");
$node->pay($node->place_orders(2));
$node->sql(qq{SELECT capi.send('main', '{"event_name": "Lead", "user_data": {"em": "a\@b.de"}}')});
$node->sql("SELECT capi.set_context('1', '{\"client_ip_address\": \"203.0.113.9\"}')");
$node->wait_for("SELECT queued + retrying = 3 FROM capi.health", 'some wait');

# --- dumps, by an admin and by who has nothing but this duty -------------------------

my $backup = $node->safe_psql('postgres', 'CREATE ROLE keeper LOGIN');
$node->sql('GRANT USAGE ON SCHEMA shop TO keeper; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO keeper;'
	. ' GRANT SELECT ON ALL SEQUENCES IN SCHEMA shop TO keeper');
$node->sql("SELECT capi.grant_access('keeper', 'backup')");

sub dump_as
{
	my ($role, $file) = @_;

	$node->command_ok([ 'pg_dump', '-U', $role, '-d', $node->connstr('shop'), '-f', $node->basedir . "/$file" ],
		"pg_dump as $role");
	return slurp_file($node->basedir . "/$file");
}

foreach my $role (qw(shop_owner keeper))
{
	my $dump = dump_as($role, "$role.sql");

	like($dump, qr/COPY capi\.backlog .*\n.+\n.+\n.+\n/, "$role: what waits is in it");
	like($dump, qr/COPY capi\.sealed_secret .*\n.+access_token/, "$role: and the token, encrypted");
	unlike($dump, qr/\Q$token\E|a-dumped-secret|203\.0\.113\.9/, "$role: P8: but neither in clear, nor contexts");
}

# a partition of later is dumped, too
$node->sql("SELECT capi._add_partition('delivery', '2037-01-01 00:00+00', '2037-01-02 00:00+00')");
$node->sql("SELECT capi._add_partition('request', '2037-01-01 00:00+00', '2037-01-02 00:00+00')");
like(dump_as('keeper', 'later.sql'), qr/COPY capi\.delivery_p20370101/, 'a new partition is dumped');

# --- restored it works as before -----------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'),
		'-f', $node->basedir . '/later.sql' ], 'the dump can be restored');
my $restored = $node->in_database('restored');
is($restored->sql('SELECT count(*) FROM capi.secret WHERE encrypted'), '2', 'with its secrets');
$restored->sql("SELECT capi.confirm_identity(); SELECT capi.resume_dataset('main'); CALL capi.deliver()");
ok($sandbox->wait_for(events => 6), 'and sends what waited');

# --- what the duty may read, and what nobody's query may --------------------------------------

foreach my $role (qw(shop_owner keeper))
{
	like($node->refuses("SELECT * FROM capi.$_", $role), qr/42501/, "$role: may not read $_") foreach qw(secret context);
}
is($node->sql("SELECT capi.set_access_token('main', '$token'); SELECT count(*) FROM capi.sealed_secret"), "\n2", 'a new token takes the place of the old');
$node->change('capi.key_file' => '');
$node->wait_for("SELECT current_setting('capi.key_file') = ''", 'no key file');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', '$token')");
is($node->sql('SELECT kind FROM capi.sealed_secret'), 'app_secret', 'P8: what is not encrypted is in no dump');
unlike(dump_as('keeper', 'plain.sql'), qr/\Q$token\E/, 'P8: not even then');

# who may read all tables reads neither
$node->sql('CREATE ROLE all_reader LOGIN; GRANT pg_read_all_data TO all_reader');
is($node->sql("SELECT count(*) FROM capi.$_", 'all_reader'), '0', "pg_read_all_data sees nothing of $_") foreach qw(secret context);
$node->sql('ANALYZE capi.secret; ANALYZE capi.context');
is($node->sql("SELECT count(*) FROM pg_stats WHERE tablename IN ('secret', 'context')", 'all_reader'), '0', 'nor of statistics');

like(dump_as('all_reader', 'all.sql'), qr/COPY capi\.backlog/, 'it can make dumps');

# queries that run as it: a superuser's source on a superuser's table, and his preview
$node->sql('CREATE TABLE public.own (id int PRIMARY KEY, created_at timestamptz DEFAULT now())');
$node->sql(q{SELECT capi.attach('own', 'public.own', 'main', query => $$
	SELECT o.id AS key, o.created_at AS event_time,
	       (SELECT string_agg(convert_from(value, 'UTF8'), ',') FROM capi.secret)
	       || (SELECT string_agg(fields::text, ',') FROM capi.context) AS ignore_reason, 'a@b.de' AS em, 1 AS value, 'EUR' AS currency
	  FROM public.own o$$)});
$node->sql('INSERT INTO public.own VALUES (1)');
is($node->sql("SELECT reason FROM capi.preview('own')"), '', "P8: a superuser's preview sees no secret");
$node->sql("SELECT capi.resume_dataset('main')");
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE source = 'own' AND status = 'delivered'"),
	'P8: nor does a reader');

done_testing();
