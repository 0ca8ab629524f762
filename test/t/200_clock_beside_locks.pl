# P6: what waits for nobody: a dispatcher that starts after a clock was ahead sends,
# though a session holds the rows whose times it would reckon anew.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	databases => 'elsewhere', conf => "capi.poll_interval = '100ms'\nautovacuum = off");
$node->install_capi;
$node->attach;

# as a clock that was ahead leaves them
$node->sql("SELECT capi.set_context('$_', '{\"consent\": true, \"client_ip_address\": \"203.0.113.7\"}')", 'shop_owner')
	foreach qw(one two);
$node->sql("UPDATE capi.context SET set_at = now() + interval '1 hour'; UPDATE capi.consent SET said_at = now() + interval '1 hour'");
$node->sql("UPDATE capi.state SET saved_at = now() + interval '1 hour'");
$node->sql("UPDATE capi.dataset_state SET rest_until = now() + interval '2 days'");

my $session = $node->session(role => 'shop_owner');
$session->sql('BEGIN');
$session->sql("SELECT capi.forget('one')");
$node->sql("INSERT INTO shop.orders (total, email, status, paid_at) VALUES (1, 'ann\@example.com', 'paid', now())", 'shop_app');
$node->change('capi.databases' => 'shop');
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery WHERE outcome = 'delivered'", 20), 'P6: the order is sent');
is($node->sql("SELECT count(*) FROM capi.context WHERE key = 'two' AND set_at > now()"), 0,
	'what nobody holds is reckoned anew');
is($node->sql("SELECT count(*) FROM capi.context WHERE key = 'one' AND set_at > now()"), 1, 'what is held is left as it is');
$session->sql('ROLLBACK');
$session->quit;

done_testing();
