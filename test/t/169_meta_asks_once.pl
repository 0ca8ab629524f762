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

# --- names that are none, and too many of them ----------------------------------

my $hour = $node->sql('SELECT extract(epoch FROM capi._hour(now()))::bigint');
my @no_names = ('jane@example.com', 'Order 4917112345678', 'a' x 64, '0' . 'f' x 30, 'word ' x 11);
$sandbox->post('count', { dataset => $CapiTest::Node::DATASET_ID, hour => $hour - 3600, event_name => $_, count => 1 }) foreach @no_names;
$sandbox->post('count', { dataset => $CapiTest::Node::DATASET_ID, hour => $hour - 3600 * (1 + $_ % 4), event_name => "Step $_", count => 2 }) foreach 1 .. 230;
$sandbox->post('count', { dataset => $CapiTest::Node::DATASET_ID, hour => $hour - 3600, event_name => 'CompleteRegistration', count => 3 });
$sandbox->post('tokens', { add => [ { token => 'reading-token', scopes => ['ads_read'] } ] });
$node->sql("UPDATE capi.meta_ask SET ask_from = NULL; SET client_min_messages = error; SELECT capi.set_stats_token('main', 'reading-token')");
ok($node->wait_for("SELECT state = 'ok' AND next_at > now() FROM capi.meta_ask WHERE question = 'counts'"), 'counts are told');
my $steps = $node->sql("SELECT count(*) FROM capi.meta_count WHERE event_name ~ '^Step'");
# Purchase is one of them, if its hour is in the same answer
like($steps, qr/^19[89]$/, 'P12: 200 names of an answer are kept');
is($node->sql("SELECT counted FROM capi.meta_count WHERE event_name = 'CompleteRegistration'"), '3', 'those of Meta are names');
is($node->sql("SELECT sum(counted) FROM capi.meta_count WHERE event_name = '(other)'"), 5 + 2 * (230 - $steps), 'P7: the rest counts without its names');
is($node->sql("SELECT count(*) FROM capi.meta_count WHERE event_name ~ '\@|[0-9]{6}|[a-z]{20}|word'"), '0', 'which are kept nowhere');
$node->stop;
done_testing();
