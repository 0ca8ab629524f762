# P9: in a reader nobody is anybody but the role of the source, and nothing that
# its query calls makes it another.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $super = $node->sql('SELECT current_user');
my $columns = q{o.id AS key, o.at AS event_time, 10 AS value, 'EUR' AS currency, o.id AS order_id, '203.0.113.7' AS client_ip_address,
	'test agent' AS client_user_agent, 'o@example.com' AS em};

$node->install_capi;
$node->sql('CREATE ROLE tenant LOGIN; CREATE ROLE colleague; GRANT colleague TO tenant; CREATE SCHEMA bad AUTHORIZATION tenant');
$node->sql("SELECT capi.grant_access('tenant', 'admin')");
$node->sql(q{
CREATE FUNCTION bad.who() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws('/', session_user, current_user, current_setting('session_authorization'), current_setting('role'), current_setting('is_superuser')) $$;
CREATE FUNCTION bad.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN bad.who();
EXCEPTION WHEN OTHERS THEN
	RETURN bad.who();
END $$;
CREATE TABLE bad.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, statement text, at timestamptz DEFAULT now())}, 'tenant');
$node->sql("CREATE TABLE public.own (id int PRIMARY KEY, at timestamptz DEFAULT now());
	CREATE FUNCTION public.who() RETURNS text LANGUAGE sql AS 'SELECT session_user || ''/'' || current_user'");
$node->sql("SELECT capi.attach(source => 'bad', table_name => 'bad.orders', dataset => 'main', query =>
	\$q\$SELECT $columns, 'bad-' || o.id AS event_id, bad.try(o.statement) AS content_name FROM bad.orders o\$q\$)", 'tenant');
$node->sql("SELECT capi.attach(source => 'own', table_name => 'public.own', dataset => 'main', query =>
	\$q\$SELECT $columns, 'own-' || o.id AS event_id, public.who() AS content_name FROM public.own o\$q\$)");

# What the event of that id says.
sub said
{
	my ($id) = @_;
	my ($event) = grep { $_->{event_id} eq $id } $sandbox->events(dataset => $node->dataset_id);

	return $event->{event}{custom_data}{content_name};
}

my @statements = (
	'SELECT 1', "SET ROLE $super", "SET LOCAL ROLE $super", 'SET ROLE colleague', 'RESET ROLE', 'SET ROLE NONE',
	"SELECT set_config('role', '$super', false)", "SELECT set_config('role', '$super', true)",
	"SET SESSION AUTHORIZATION $super", 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
	"SELECT set_config('session_authorization', '$super', false)", "SET is_superuser = on", 'RESET ALL', 'DISCARD ALL',
	"CREATE FUNCTION bad.other() RETURNS text LANGUAGE sql SET role = '$super' AS 'SELECT 1'",
	"UPDATE pg_settings SET setting = '$super' WHERE name = 'role'");

foreach my $statement (@statements)
{
	my $id = $node->sql("INSERT INTO bad.orders (statement) VALUES ('" . $statement =~ s/'/''/gr . "') RETURNING id", 'tenant');

	$node->wait_for("SELECT status = 'delivered' FROM capi.delivery_status WHERE source = 'bad' AND order_key = '$id'");
	is(said("bad-$id"), 'tenant/tenant/tenant/none/off', "P9: $statement");
}

# who is gone has no rights, who became a superuser has not more; as whoever comes next in the same process
$node->sql('INSERT INTO public.own (id) VALUES (1)');
$node->wait_until_idle;
is(said('own-1'), 'pg_read_all_data/pg_read_all_data', 'P9: a source of a superuser');
$node->sql('ALTER ROLE tenant SUPERUSER');
my $id = $node->sql("INSERT INTO bad.orders (statement) VALUES ('SELECT 1') RETURNING id");
ok($node->wait_for("SELECT status <> 'queued' OR reason IS NOT NULL FROM capi.delivery_status WHERE source = 'bad' AND order_key = '$id'"), 'P9: a role became a superuser');
unlike(said("bad-$id") // '', qr/tenant|$super/, 'P9: and gained nothing');
$node->sql('ALTER ROLE tenant NOSUPERUSER');

done_testing();
