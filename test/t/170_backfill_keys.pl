# P5: an order that a backfill queued is known under the text that the trigger
# writes of its key, also where one value has several texts.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

# type of the column, key in the query, whether there is a rule, a key as it is
# inserted and as it is printed
my %kinds = (
	citext => [ 'public.citext', 'id', 1, 'ABC-1', 'ABC-1' ],
	number => [ 'numeric(10, 2)', 'id', 1, '1001', '1001.00' ],
	shorter => [ 'numeric(10, 2)', 'id::numeric(10, 1)', 1, '2001', '2001.00' ],
	blanks => [ 'char(8)', 'id', 1, 'AB', 'AB      ' ],
	address => [ 'inet', 'id', 1, '192.0.2.1', '192.0.2.1' ],
	no_rule => [ 'public.citext', 'id', 0, 'XYZ-1', 'XYZ-1' ]);

$node->install_capi;
$node->sql('CREATE EXTENSION citext SCHEMA public');
$node->create_dataset if $node->sql('SELECT count(*) FROM capi.dataset') eq '0';
foreach my $name (sort keys %kinds)
{
	my ($type, $key, $has_rule, $id) = @{ $kinds{$name} };

	$node->sql("CREATE TABLE shop.$name (id $type PRIMARY KEY, status char(8) DEFAULT 'pending', paid_at timestamptz DEFAULT now())",
		'shop_owner');
	$node->attach(
		source => $name,
		table_name => "shop.$name",
		($has_rule ? () : (on_column => undef, on_values => undef)),
		query => "SELECT $key AS key, paid_at AS event_time, 5 AS value, 'EUR' AS currency, 'a\@example.com' AS em,"
		  . " 'https://shop.example/' AS event_source_url, 'agent' AS client_user_agent FROM shop.$name");
	$node->sql("ALTER TABLE shop.$name DISABLE TRIGGER capi_capture; INSERT INTO shop.$name VALUES ('$id', 'paid');"
		  . " ALTER TABLE shop.$name ENABLE TRIGGER capi_capture", 'shop_owner');
	$node->sql("CALL capi.backfill('$name', now() - interval '1 day', 'infinity')", 'shop_owner');
}
$node->wait_until_idle;
foreach my $name (sort keys %kinds)
{
	is($node->sql("SELECT string_agg(order_key || ':' || status, ' ') FROM capi.delivery_status WHERE source = '$name'"),
		"$kinds{$name}[4]:delivered", "$name: a missing order is queued under the trigger's text of its key");
	is($node->sql("SELECT coalesce(sum(missing), 0) FROM capi.reconcile('$name', now() - interval '1 day', 'infinity')", 'shop_owner'),
		0, "$name: and is missing no more");
	$node->sql("UPDATE shop.$name SET status = 'shipped'; UPDATE shop.$name SET status = 'paid'", 'shop_owner');
}
$node->wait_until_idle;
is(scalar($sandbox->events(dataset => $node->dataset_id)), scalar(keys %kinds), 'P5: captured again, each was sent once');

done_testing();
