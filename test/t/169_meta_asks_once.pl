# A question to Meta is asked once for a token, however the clock was set; and of an
# answer only names that can be names of events are kept, and not too many.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::World;

my $world = CapiTest::World->new;
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0,
	conf => "capi.stats_interval = '1h'\ncapi.poll_interval = '200ms'");

$world->set(clock => 1800);
$world->start($node);
$node->create_shop;
$node->install_capi;
$node->attach;
my $pid = $node->dispatcher_pid;
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'sandbox-token')");
$node->sql("UPDATE capi.dataset SET created_at = created_at - interval '1 day'");

# --- the clock is set back: the token's time is to come ------------------------

$world->set(clock => 0);
$node->dispatcher_pid($pid);
my $all_told = "SELECT count(*) = 3 FROM capi.meta_ask WHERE asked_at < now() + interval '1 minute'";
$node->sql('SELECT capi._config_changed()');
ok($node->wait_for($all_told), 'all questions are asked') or diag($node->sql('TABLE capi.meta_ask'));
$node->pay($node->place_orders(3));
$node->wait_until_idle;
my %asked;
$asked{ $_->{call} }++ foreach $sandbox->requests;
is(join(', ', map { "$_ $asked{$_}" } sort grep { $_ ne 'events' } keys %asked), 'dataset_quality 1, debug_token 1, stats 1', 'each once');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'sandbox-token')");
ok($node->wait_for("SELECT bool_and(a.secrets_at = s.changed_at) FROM capi.meta_ask a JOIN capi.secret s USING (dataset_id)"),
	'and again with a new token');
$node->stop;
done_testing();
