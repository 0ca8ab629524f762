# Variables of the environment that the server was started in: they write no keys of
# connections to a file, send nothing through a proxy and choose no certificates.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0);
my %wrong = (
	SSLKEYLOGFILE => "$folder/keys",
	SSL_CERT_FILE => "$folder/nothing",
	SSL_CERT_DIR => $folder,
	OPENSSL_MODULES => $folder,
	CURL_CA_BUNDLE => "$folder/nothing",
	map { $_ => 'http://127.0.0.1:9' } qw(http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy));

chmod 0777, $folder;
{
	local @ENV{ keys %wrong } = values %wrong;
	$node->start;
}
$node->create_shop;
$node->install_capi;
$node->attach;

$node->pay($node->place_orders(2));
ok($sandbox->wait_for(events => 2), 'the dispatcher sends, past the proxy');
ok(!-e "$folder/keys", 'P8: and writes no keys of its connections');

# a session that delivers
$node->change('capi.databases' => '');
{
	local @ENV{ keys %wrong } = values %wrong;
	$node->stop;
	$node->start;
}
$node->pay($node->place_orders(2));
$node->sql('CALL capi.deliver()');
ok($sandbox->wait_for(events => 4), 'a session sends');
is($node->sql("SELECT string_agg(\"check\", ' ') FROM capi.test_dataset('main') WHERE NOT ok"), '', 'and tests');
ok(!-e "$folder/keys", 'P8: without a file of keys');

done_testing();
