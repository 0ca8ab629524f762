# A reader ends after it has handed over the last of an audience's people, when
# these are being sent: that is no word on what is at work by then.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Points;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '200ms'");
my $points = CapiTest::Points->new($node);

$node->install_capi;
$node->sql(q{
CREATE TABLE shop.customers (id int PRIMARY KEY, email text);
INSERT INTO shop.customers SELECT n, format('c%s@example.com', n) FROM generate_series(1, 50) n}, 'shop_owner');
$sandbox->misbehave(match => { call => 'users' }, hang => JSON::PP::true());
$points->want('a reader has answered with people');
$node->sql(q{SELECT capi.create_audience('all', 'main', '777', 'SELECT id AS key, email AS em, true AS consent FROM shop.customers')},
	'shop_owner');
my $reader = $points->stopped or die;
ok($sandbox->wait_for(hanging => 1), 'the list is read, and on its way');
is($node->sql("SELECT pg_terminate_backend($reader, 30000)"), 't', 'its reader is terminated');
$points->let_go;
# what the dispatcher would make of it, it makes now
$node->create_dataset(name => 'second', dataset_id => '2234567890');
ok($node->wait_for("SELECT count(*) = 2 FROM capi.dataset_state WHERE health IS NOT NULL"), 'the dispatcher has seen that');
is($node->sql('SELECT state FROM capi.audience_status'), 'sending', 'the audience is not broken');
$sandbox->release;
ok($node->wait_for("SELECT state = 'ok' AND members = 50 AND waiting = 0 FROM capi.audience_status", 20), 'and its people are members')
  or diag($node->sql('TABLE capi.audience_status'));
is(scalar(grep { $_->{call} eq 'users' } $sandbox->requests), 1, 'after one request');
$node->stop;
done_testing();
