# P1: a server that was moved to a machine without the locale of a collation: the
# shop's insert, which compares nothing, succeeds, and what may be missed is noted.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '100ms'\nautovacuum = off\ncapi.enabled = off");
$node->install_capi;
$node->sql("CREATE COLLATION shop.local (provider = libc, locale = 'C.UTF-8')");

foreach my $type (qw(text varchar(20) char(4) name))
{
	my ($name) = $type =~ /^(\w+)/;

	$node->sql("CREATE TABLE shop.of_$name (id int, state $type COLLATE shop.local)");
	$node->sql("SELECT capi.attach('$name', 'shop.of_$name', 'main', key_columns => '{id}', on_column => 'state',"
		  . " on_values => '{paid}', query => 'SELECT id AS key, now() AS event_time FROM shop.of_$name')");
	$node->sql("INSERT INTO shop.of_$name VALUES (1, 'paid')");
}
$node->sql("UPDATE pg_collation SET collcollate = 'xx_GONE', collctype = 'xx_GONE' WHERE collname = 'local'");
foreach my $name (qw(text varchar char name))
{
	is($node->refuses("INSERT INTO shop.of_$name VALUES (2, 'paid')"), undef, "P1: $name: the insert succeeds");
	is($node->sql("SELECT coalesce(string_agg(DISTINCT coalesce(u.key, 'missed'), ' '), 'none')"
		  . " FROM capi._unread u JOIN capi.source s ON s.id = u.source_id WHERE s.name = '$name'"),
		'1 missed', "P10: $name: what may be missed is noted");
}

done_testing();
