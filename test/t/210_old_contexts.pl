# P6, P12: old browser contexts go in bounded steps, not all in one transaction,
# and one that somebody holds keeps none of the others.  Nor does a lock on one
# table keep the others from losing what is old; nobody waits for one.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "log_lock_waits = on\ndeadlock_timeout = '10ms'");

$node->install_capi;
$node->attach;
$node->sql("INSERT INTO capi.context (key, source_id, set_at, fields)"
	  . " SELECT 'old-' || n, 0, now() - interval '30 days', '{}' FROM generate_series(1, 25000) n");
$node->sql("INSERT INTO capi.context (key, source_id, set_at, fields) VALUES ('new', 0, now(), '{}')");

# logs are maintained at the start
$node->restart;
my $holder = $node->session;
$holder->sql("BEGIN; SELECT FROM capi.context WHERE key = 'old-1' FOR UPDATE");
ok($node->wait_for('SELECT count(*) BETWEEN 5000 AND 5002 FROM capi.context'), 'P6: a part of them goes')
  or diag($node->sql('SELECT count(*) FROM capi.context'));
ok($node->wait_for("SELECT string_agg(key, ' ' ORDER BY key) IN ('new old-1', 'new') FROM capi.context", 60), 'P12: and the others soon after');
$holder->sql('COMMIT');
is($node->sql("SELECT count(*) FROM capi.context WHERE key = 'new'"), 1, 'a new one stays');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
$node->deliveries_ok('P3: and orders are delivered');

# --- a lock on one of the tables ---------------------------------------------------

my @logs = qw(delivery history meta_count meta_score request);
my ($forgotten) = $node->place_orders(1);
$node->sql("INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)"
	  . " SELECT id, '$forgotten', dataset_id, 'queued', now(), now() + interval '1 day' FROM capi.source;"
	  . " INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key, reason)"
	  . " SELECT now(), now(), id, dataset_id, 0, 'forgotten', '$forgotten', 'forgotten' FROM capi.source;"
	  . " SELECT capi.set_context('x', '{\"consent\": false}')");

# What is old in all but these goes; the dispatcher maintains them at its start.
sub goes_beside
{
	my ($lock, $stays, $maintain) = @_;
	my $log = $node->log_size;

	$node->sql("SELECT count(capi._add_partition(p, now() - interval '300 days', now() - interval '299 days'))"
		  . " FROM unnest('{" . join(',', @logs) . "}'::text[]) p");
	$holder->sql("BEGIN; $lock");
	$maintain->();
	my $old = "SELECT coalesce(string_agg(i.inhparent::regclass::text, ' ' ORDER BY i.inhparent::regclass::text), '') FROM pg_inherits i"
	  . " WHERE capi._bound(i.inhrelid, 2) < now() - interval '200 days'";
	ok($node->wait_for("SELECT ($old) = '$stays'", 20), "P12: beside $lock the others lose what is old") or diag($node->sql($old));
	unlike($node->log_since($log), qr/still waiting for AccessExclusiveLock/, 'and nobody waits behind one who waits for it');
	$holder->sql('COMMIT');
	$node->sql("SELECT capi._maintain_logs('90 days')");
	is($node->sql($old), '', 'when it is free all do');
	return;
}

my $by_hand = sub { $node->sql("SELECT capi._maintain_logs('90 days')") };
goes_beside("SELECT FROM capi.backlog WHERE key = '$forgotten' FOR UPDATE", '', $by_hand);
is($node->sql("SELECT count(*) FROM capi.backlog WHERE key = '$forgotten'"), 0, 'P7: so does what was forgotten');
$holder->sql("BEGIN; INSERT INTO capi.consent (key, source_id, said_at, given) VALUES ('x', 0, now() - interval '1 minute', true),"
	  . " ('y', 0, now() - interval '1 minute', false), ('y', 0, now(), true); COMMIT; BEGIN; SELECT FROM capi.consent WHERE key = 'x' FOR UPDATE");
$node->sql("SET lock_timeout = '1s'; SELECT capi._tidy_consent(1000000)");
is($node->sql("SELECT string_agg(key, ' ' ORDER BY key, said_at) FROM capi.consent WHERE key IN ('x', 'y')"), 'x x y',
	'P6: what was said of consent goes beside a row that somebody holds');
$holder->sql('COMMIT');
goes_beside('SELECT FROM capi.delivery_status LIMIT 1', 'capi.delivery capi.request', $by_hand);
goes_beside('LOCK TABLE capi.request IN SHARE UPDATE EXCLUSIVE MODE', 'capi.request', $by_hand);
goes_beside('LOCK TABLE capi.context, capi.consent, capi.direct_event IN SHARE MODE', '', sub {
	my $pid = $node->dispatcher_pid;

	$node->sql("SELECT pg_terminate_backend($pid, 5000)");
	$node->dispatcher_pid($pid) });

$holder->quit;
done_testing();
