# P8: neither a token nor an app secret is used at an endpoint that it was not given for.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

# both take nothing without the proof that is made with the app secret
my $sandbox = CapiTest::Sandbox->new('--app-secret', 'the-secret');
my $other = $sandbox->another('--app-secret', 'the-secret');
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->safe_psql('postgres', 'CREATE ROLE mover LOGIN');
$node->install_capi(app_secret => 'the-secret');
$node->sql("SELECT capi.grant_access('mover', 'admin')");
$node->attach;
$node->pay($node->place_orders(1));
ok($sandbox->wait_for(events => 1), 'where it was given it is used');

my $url = $other->url;
my $quiet = 'SET client_min_messages = error;';

$node->sql("$quiet SELECT capi.alter_dataset('main', endpoint => '$url', access_token => 'sandbox-token')", 'mover');
$node->pay($node->place_orders(1));
$other->wait_for(requests => 1);
is(scalar(grep { $_->{outcome} eq 'accepted' } $other->requests), 0, 'the app secret did not move with the endpoint');
is($other->stats->{events} // 0, 0, 'so nothing is accepted there');
$node->sql("$quiet SELECT capi.alter_dataset('main', app_secret => 'the-secret')", 'mover');
$node->sql("SELECT capi.redrive()");
ok($other->wait_for(events => 1), 'when it is given again it is used');

# behind the functions' backs
$node->sql("UPDATE capi.dataset SET endpoint = '" . $sandbox->url . "'; SELECT capi._config_changed()");
$node->wait_for("SELECT state = 'no_token' AND reason LIKE '%given for another endpoint%' FROM capi.health", 'the state says so');
$node->pay($node->place_orders(1));
$node->wait_for("SELECT queued > 0 FROM capi.health", 'the order waits');
$node->sql("$quiet SELECT capi.set_access_token('main', 'sandbox-token', endpoint => '" . $sandbox->url . "')", 'mover');
$node->sql("$quiet SELECT capi.alter_dataset('main', app_secret => 'the-secret', endpoint => '" . $sandbox->url . "')", 'mover');
$node->sql("SELECT capi.redrive()");
ok($sandbox->wait_for(events => 2), 'and goes when the token is given again');

done_testing();
