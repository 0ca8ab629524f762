# P10: the real exporter, as a role with the duty of a reader, and a real
# Prometheus with the rules: each alert that a fault can be made for fires.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Prometheus;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '200ms'");

$node->install_capi;
$node->attach;
my $watch = CapiTest::Prometheus->new($node);

my %fired;

sub fires
{
	my ($alert, $name) = @_;

	$fired{$alert} = 1;
	ok($watch->until_true(sub { my %now = $watch->firing; $now{$alert} }), "P10: $name: $alert")
	  or diag(join(' ', $watch->firing), $node->sql('TABLE capi.health'));
	return;
}

sub buy { return $node->pay($node->place_orders(1)) }

# --- what is scraped -----------------------------------------------------------------

buy();
$node->wait_until_idle;
my $page = '';
ok($watch->until_true(sub { $page = $watch->page; $page =~ /capi_health_state_is\{[^}]*state="ok"[^}]*\} 1$/m }),
	'P10: the exporter tells the state') or diag($page);
like($page, qr/^capi_dataset_delivered_1h\{[^}]*\} 1$/m, 'what was delivered');
like($page, qr/^capi_source_broken\{[^}]*\} 0$/m, 'sources');
like($page, qr/^capi_check_failed\{check="enabled"[^}]*\} 0$/m, 'checks');
like($page, qr/^pg_exporter_last_scrape_error \S*0$|pg_exporter_last_scrape_error\S* 0$/m, 'without an error');

# --- faults ----------------------------------------------------------------------------

$node->sql("SELECT capi.alter_dataset('main', test_event_code => 'TEST1')");
fires('CapiTestMode', 'a test_event_code');
$node->sql("SELECT capi.alter_dataset('main', test_event_code => '')");

$sandbox->misbehave(status => 503, times => undef);
buy();
fires('CapiBackingOff', 'an outage');
$node->sql("SELECT capi.pause_dataset('main'); UPDATE capi.backlog SET captured_at = captured_at - interval '6 days'");
fires('CapiExpiresSoon', 'it waits for six days');
fires('CapiPaused', 'paused meanwhile');
$sandbox->behave;
$node->sql("SELECT capi.resume_dataset('main')");
$node->wait_until_idle;

$sandbox->misbehave(code => 80004, times => 1, throttle => { business => { estimated_time_to_regain_access => 5 } });
buy();
fires('CapiThrottled', 'a throttle');
$node->sql("SELECT capi.pause_dataset('main')");
$node->sql("SELECT capi.resume_dataset('main')");

$sandbox->misbehave(code => 190, times => undef);
buy();
fires('CapiToken', 'a dead token');
$sandbox->behave;
$node->sql("SELECT capi.set_access_token('main', '$CapiTest::Node::TOKEN')");

$sandbox->misbehave(code => 2635, times => undef);
buy();
fires('CapiRefused', 'a version that is over');
$sandbox->behave;
$node->sql("SELECT capi.alter_dataset('main', events_per_hour => 1000)");

$node->sql("UPDATE capi.state SET system_identifier = 'another'");
fires('CapiHeldIdentity', 'a copy');
fires('CapiCheck', 'which is a check, too');
$node->sql('SELECT capi.confirm_identity()');

$node->sql("INSERT INTO shop.orders (total, currency, email, status, paid_at) VALUES (1, '', 'a\@example.com', 'paid', now())");
fires('CapiRejected', 'an order without a currency');

$node->sql("INSERT INTO capi.meta_ask (dataset_id, question, asked_at, next_at, state, expires_at) SELECT id, 'token', now(), now() + '1 day', 'ok', now() + '3 days'"
	  . " FROM capi.dataset ON CONFLICT (dataset_id, question) DO UPDATE SET expires_at = excluded.expires_at, asked_at = excluded.asked_at");
fires('CapiTokenExpiring', 'Meta says that the token ends');

$node->sql('ALTER TABLE shop.orders RENAME COLUMN status TO state');
fires('CapiSourceBroken', 'a column is renamed');
$node->sql("INSERT INTO shop.orders (total, email, state, paid_at) VALUES (1, 'a\@example.com', 'paid', now())");
fires('CapiMissedCaptures', 'and an order comes');
$node->sql('ALTER TABLE shop.orders RENAME COLUMN state TO status');

$node->append_conf('postgresql.conf', "max_worker_processes = 2\nmax_logical_replication_workers = 0");
$node->restart;
buy();
fires('CapiNoReader', 'no worker is free');

$node->change('capi.databases' => '');
fires('CapiNotRunning', 'no dispatcher');
$node->sql("REVOKE ALL ON capi.health FROM capi_exporter");
fires('CapiNotSeen', 'the right is gone');

# a server that is gone is tried for some seconds before the exporter says so
$watch->configure(6);
$node->stop;
fires('CapiServerDown', 'the server is gone');

is(join(' ', grep { !$fired{$_} } $watch->rules =~ /alert: (\w+)/g), '', 'P10: no alert is left');
done_testing();
