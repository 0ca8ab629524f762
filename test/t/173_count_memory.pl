# P10: a count takes no more memory than it says, also when the log has more
# records of a time than the query returns orders, or there is no query.
# slow
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $records = 3_000_000;

$node->install_capi;
$node->attach;
$node->sql(q{SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'event_time', now(), 'user_data', jsonb_build_object('em', 'a@b.example'),
	'action_source', 'system_generated'), 'first')});
$node->wait_until_idle;
$node->sql(qq{
INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key, value, currency)
SELECT now(), now() - interval '1 hour', now() - interval '1 hour', s.id, s.dataset_id, 1, 'delivered', n, 10, 'EUR'
  FROM capi.source s, generate_series(1, $records) n WHERE s.name = 'send:main:Lead';
INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key, value, currency)
SELECT now(), now() - interval '1 hour', now() - interval '1 hour', s.id, s.dataset_id, 1, 'delivered', n, 10, 'EUR'
  FROM capi.source s, generate_series(1, 50000) n WHERE s.name = 'paid_orders';
ANALYZE capi.delivery});

# The answer of a session that gets no more than so many megabytes.
sub count_within
{
	my ($megabytes, $source) = @_;
	my $session = $node->session;
	my $pid = $session->sql('SELECT pg_backend_pid()');

	system('prlimit', "--pid=$pid", '--data=' . $megabytes * 1024 * 1024) == 0 or die;
	my $answer = eval { $session->sql("SELECT sum(orders), sum(delivered), sum(delivered_value) FROM capi.reconcile('$source', now() - interval '2 hours')") } // $@;
	eval { $session->quit };
	return $answer;
}

is(count_within(430, 'send:main:Lead'), join('|', $records + 1, $records + 1, $records * 10), 'events of capi.send()');
is(count_within(100, 'paid_orders'), '50000|50000|500000', 'records whose orders are gone: the query is asked for a thousand at a time');

done_testing();
