# P1, P3, P5, P6: a shop sells while servers, networks, tokens and administrators
# do what they do, at random; afterwards every order is accounted for.
# CAPI_SOAK_SECONDS (60) and CAPI_SOAK_SEED: "make soak" runs it for longer.
# slow
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::Soak;

my $seconds = $ENV{CAPI_SOAK_SECONDS} || 60;
my $seed = $ENV{CAPI_SOAK_SEED} || time;

diag("seed $seed, $seconds s");

my $sandbox = CapiTest::Sandbox->new('--keep-events', 5_000_000, '--keep-requests', 1_000_000);
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.request_timeout = '3s'\ncapi.connect_timeout = '2s'\nmax_prepared_transactions = 50\n"
	  . "max_worker_processes = 16\nrestart_after_crash = on");
$node->install_capi;
$node->create_dataset(name => 'second', dataset_id => '2222222222');
$node->attach;

my $soak = CapiTest::Soak->new(node => $node, sandbox => $sandbox, seed => $seed, rate => $ENV{CAPI_SOAK_RATE});

$soak->run($seconds);
ok($soak->settle(300), 'P3: in the end nothing waits');
is_deeply($soak->surprises, [], 'P1 P12: nobody was told of an error that was not his');

# What the shop sold, as its own table tells, and what arrived.
my %sold = map { $_ => 1 } split /\n/,
  $node->sql(q{SELECT id FROM shop.orders WHERE status IN ('paid', 'refunded') AND NOT is_test});
my (%arrived, $repeats);

foreach my $row ($sandbox->events)
{
	$arrived{ $row->{event_id} } += $row->{count};
	$repeats += $row->{count} - 1;
}
my @lost = sort grep { !$arrived{$_} } keys %sold;
my @invented = sort grep { !$sold{$_} } keys %arrived;

cmp_ok(scalar keys %sold, '>', $seconds * 10, 'the shop sold: ' . keys(%sold) . ' orders');
is("@lost", '', 'P3: no order is lost');
diag($node->sql("SELECT o, o.xmin, s FROM shop.orders o LEFT JOIN capi.delivery_status s ON s.order_key = o.id::text"
	  . ' WHERE o.id IN (' . join(', ', @lost[ 0 .. ($#lost > 9 ? 9 : $#lost) ]) . ')'))
  if @lost;
is("@invented", '', 'P5: none is reported that was not sold');

# An event may have been sent twice where an answer did not come, in time or at
# all, or a process died before it was recorded, which a lock on the log puts off
# by seconds.
my $unclear = $node->sql('SELECT coalesce(sum(events), 0) FROM capi.request_log WHERE http_status IS NULL');

foreach my $request ($sandbox->requests(call => 'events'))
{
	next unless $request->{accepted};
	my $died = grep { $request->{time} > $_ - 10 && $request->{time} < $_ + 3 } @{ $soak->{kills} };

	$unclear += $request->{accepted} if $request->{outcome} ne 'accepted' || $died;
}
cmp_ok($repeats // 0, '<=', $unclear, 'P5: no more is repeated than was in flight when something died')
  or diag($node->sql('SELECT sent_at, duration_ms, events, http_status, message FROM capi.request_log'
	  . " WHERE http_status IS DISTINCT FROM 200 ORDER BY 1"));

is($node->sql(q{
SELECT count(*) FROM shop.orders o
  LEFT JOIN capi.delivery_status s ON s.order_key = o.id::text
 WHERE o.status IN ('paid', 'refunded')
   AND s.status IS DISTINCT FROM CASE WHEN o.is_test THEN 'ignored' ELSE 'delivered' END}), 0,
	'P10: the view knows the outcome of every order');
is($node->sql('SELECT count(*) FROM (SELECT order_key FROM capi.delivery_status GROUP BY 1 HAVING count(*) > 1) twice'), 0,
	'P10: and knows each once');
is($node->sql('SELECT coalesce(sum(missed_captures), 0) FROM capi.source_status'), 0, 'P1: none was missed');

# what is kept does not grow with what was done
cmp_ok($node->sql(q{
SELECT sum(pg_total_relation_size(c.oid)) / 1024 / 1024
  FROM pg_class c WHERE c.relname LIKE 'queue\_%' AND c.relkind = 'r'}), '<', 20, 'P11: the queue is small, MB');
my $status = PostgreSQL::Test::Utils::slurp_file('/proc/' . $node->dispatcher_pid . '/status');
my ($anon) = $status =~ /^RssAnon:\s+(\d+) kB/m;
cmp_ok($anon / 1024, '<', 48, 'P11: and so is the dispatcher, MB');

my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
my @crashes = grep { !/signal 9: Killed/ } $log =~ /^(.*was terminated by signal.*)$/mg;
is("@crashes", '', 'P12: no process died but those that were killed');
unlike($log, qr/PANIC|TRAP: /, 'P12: no panic, no failed assertion');

diag(sprintf '%d orders, %d events in %d requests, %d repeated of at most %d; %s', scalar keys %sold, scalar keys %arrived,
	$sandbox->stats->{requests}, $repeats // 0, $unclear,
	join ', ', map { "$_ $soak->{done}{$_}" } sort keys %{ $soak->{done} });

done_testing();
