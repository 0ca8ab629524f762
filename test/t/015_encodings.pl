# Databases of other encodings: the same hashes as in UTF-8, and bytes that are
# no text at all cost the field they stand in, not the order and not its batch.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->start;

my $jorg = sha256_hex("j\xC3\xB6rg");

# Makes a database with capi, a table of customers and a source of it.
sub create_database
{
	my ($encoding) = @_;
	my $database = lc "shop_$encoding";

	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, q{
		CREATE EXTENSION capi;
		CREATE TABLE customers (id int PRIMARY KEY, first text, email text);
		SELECT capi.create_dataset(name := 'main', dataset_id := '1001',
			access_token := 'not-a-token');
		SELECT capi.attach(source := 'customers', table_name := 'customers',
			dataset := 'main', event_name := 'Lead', query := $$
				SELECT id AS key, now() AS event_time, first AS fn, email AS em
				FROM customers$$)});
	return $database;
}

sub preview
{
	my ($database, $key) = @_;
	my $event = $node->safe_psql($database,
		"SELECT event FROM capi.preview(source := 'customers', order_key := '$key')");

	return $event eq '' ? {} : decode_json($event)->{user_data};
}

foreach my $encoding (qw(LATIN1 LATIN5 EUC_JP WIN1252))
{
	my $database = create_database($encoding);

	$node->safe_psql($database, "SET client_encoding = 'UTF8';"
		  . "INSERT INTO customers VALUES (1, 'J\xC3\x96RG', 'a\@b.de')");
	is_deeply(preview($database, 1)->{fn}, [$jorg], "$encoding: the hash is of UTF-8");
	is($node->safe_psql($database,
			"SET client_encoding = 'UTF8'; SELECT capi.hash('fn', 'J\xC3\x96RG')"),
		$jorg, "$encoding: also by hand");
}
is($node->safe_psql('shop_latin5',
		"SET client_encoding = 'UTF8'; SELECT capi.hash('fn', '\xC4\xB0pek')"),
	sha256_hex("i\xCC\x87pek"), 'a normal form that the encoding cannot hold has its hash');

# Whatever bytes were put in are in there.
my $database = create_database('SQL_ASCII');
$node->safe_psql($database, q{
	INSERT INTO customers VALUES (1, E'J\xc3\x96RG', 'a@b.de'), (2, E'J\xd6RG', 'c@d.de'),
		(3, E'\xff', E'\xfe@b.de')});
is_deeply(preview($database, 1)->{fn}, [$jorg], 'SQL_ASCII: bytes that are UTF-8 are taken for it');
is_deeply(preview($database, 2), { em => [ sha256_hex('c@d.de') ] },
	'others cost their field only');
like($node->safe_psql($database,
		"SELECT problems FROM capi.preview(source := 'customers', order_key := '2')"),
	qr/fn.*not valid UTF-8/, 'which is named');
is($node->safe_psql($database, "SELECT outcome, reason FROM capi.preview(source := 'customers', order_key := '3')"),
	'rejected|no_customer_data', 'nothing else is left of an order that has only those');
is($node->safe_psql($database, q{SELECT capi.normalize('fn', E'\xff') IS NULL}), 't',
	'they have no normal form');

$node->stop;
done_testing();
