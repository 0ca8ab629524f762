# P3, P5 and P12, and the invariants of src/queue.c: business goes on while the
# queue's segments turn and are truncated, and dispatchers die all the time.
use strict;
use warnings;

use IPC::Run;
use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '500ms'");
my $deaths = 0;
$node->install_capi;
$node->attach;

# Orders that pass through the queue and are not sent.
my $filler = "INSERT INTO shop.orders (total, email, is_test, status, paid_at)"
  . " SELECT 1, 'test\@example.com', true, 'paid', now() FROM generate_series";

# Much cheaper than to ask for what waits.
sub all_done
{
	$node->wait_for("SELECT count(*) = (SELECT count(*) FROM shop.orders WHERE status = 'paid') FROM capi.delivery")
	  or die 'events still wait';
	return;
}

# --- a long way through the queue -----------------------------------------------

# an answer that comes while a lot is read is not left lying until all is read
my $importer = $node->session(role => 'shop_app');
$importer->sql("BEGIN; $filler (1, 150000)");
my ($order) = $node->place_orders(1);
$sandbox->misbehave(delay_ms => 200);
$node->pay($order);
$sandbox->wait_for(requests => 1) or die;
$importer->sql('COMMIT');
$importer->quit;
all_done();
is($node->sql("SELECT min(finished_at) FILTER (WHERE key = '$order') < max(finished_at) FILTER (WHERE outcome = 'ignored')"
	  . ' FROM capi.delivery'), 't', 'P6: answers are served while the queue is read');

# --- stragglers -------------------------------------------------------------------

# a few rows that were written to segments after these were left do not keep new
# ones from using them
my $now = $node->sql('SELECT segment FROM capi.state');
foreach my $segment (grep { $_ != $now } 0 .. 3)
{
	$node->sql("INSERT INTO capi.queue_$segment VALUES (pg_current_xact_id(), now(), 1, NULL, '$order')");
}
$node->sql("$filler (1, 35000)", 'shop_app');
ok($node->wait_for("SELECT segment <> $now FROM capi.state", 20), 'P12: the queue turns to a segment with some rows left');

# --- deaths -----------------------------------------------------------------------

# A client whose transactions are as large as they come, one of single orders,
# and one that changes its mind.
my %clients = (
	many => "\\set n random(1, 1200)\n$filler (1, :n);\n",
	single => "INSERT INTO shop.orders (total, email, status, paid_at) VALUES (2, 'one\@example.com', 'paid', now());\n",
	undecided => qq{
BEGIN;
INSERT INTO shop.orders (total, email, status, paid_at) VALUES (3, 'two\@example.com', 'paid', now());
SAVEPOINT a;
$filler (1, 300);
ROLLBACK TO a;
SELECT random() < 0.25 AS regrets \\gset
\\if :regrets
ROLLBACK;
\\else
COMMIT;
\\endif
});

foreach my $client (keys %clients)
{
	append_to_file($node->basedir . "/$client.sql", $clients{$client});
}

sub start_business
{
	my ($seconds) = @_;

	return map {
		IPC::Run::start(
			[ 'pgbench', '-n', '-T', $seconds, '-R', 50, '-c', 2, '-U', 'shop_app', '-f', $node->basedir . "/$_.sql",
				$node->connstr('shop') ],
			'>', '/dev/null', '2>', '/dev/null')
	} sort keys %clients;
}

# A reload starts the next one at once, however many died before.  A cancel ends
# none that is at a step which is tried again after any error.
sub end_dispatcher
{
	my ($signal) = @_;
	my $pid = $node->dispatcher_pid;
	my $patience = time + 1;

	usleep(100_000);
	kill $signal, $pid;
	$deaths++;
	while (kill 0, $pid)
	{
		usleep(5_000);
		kill 'TERM', $pid if $signal eq 'INT' && time > $patience;
	}
	$node->reload;
	return;
}

# A second of business is less than a segment holds if the machine is slow.
sub fill_segment
{
	my ($segment) = @_;

	foreach (1 .. 40)
	{
		last if $node->sql("SELECT segment <> $segment FROM capi.state") eq 't';
		$node->sql("$filler (1, 1000)", 'shop_app');
	}
	return;
}

my @open;        # sessions whose transactions outlive a rotation or two
my %segments;
foreach my $round (1 .. 3)
{
	my $segment = $node->sql('SELECT segment FROM capi.state');
	my @business = start_business(1);

	$segments{$segment} = 1;
	push @open, $node->session(role => 'shop_app');
	$open[-1]->sql("BEGIN; INSERT INTO shop.orders (total, email, status, paid_at)"
		  . " VALUES (4, 'long\@example.com', 'paid', now())");
	end_dispatcher($_) foreach qw(TERM INT TERM);
	$_->finish foreach @business;
	end_dispatcher('TERM');
	fill_segment($segment);
	ok($node->wait_for("SELECT segment <> $segment FROM capi.state"), "the queue turns, round $round");
	if (@open > 1)
	{
		my $long = shift @open;

		$long->sql("INSERT INTO shop.orders (total, email, status, paid_at)"
			  . " VALUES (5, 'long\@example.com', 'paid', now()); COMMIT");
	}
}
cmp_ok(scalar keys %segments, '>', 2, 'it uses several segments');
$_->sql('COMMIT') foreach @open;

# this one is a crash of the whole server, with a lot to do
my @business = start_business(1);
usleep(700_000);
kill 'KILL', $node->dispatcher_pid;
$deaths++;
$_->finish foreach @business;
$node->poll_query_until('postgres', 'SELECT 1', '1') or die;

# --- accounts ---------------------------------------------------------------------

all_done();
my $rows = $node->sql("SELECT count(*) FROM shop.orders WHERE status = 'paid'");
cmp_ok($rows, '>', 100_000, "$rows orders were captured");
is($node->sql(q{
SELECT count(*) FROM shop.orders o LEFT JOIN
       (SELECT key, count(*) FROM capi.delivery GROUP BY key) d ON d.key = o.id::text
 WHERE o.status = 'paid' AND d.count IS DISTINCT FROM 1}), 0, 'P3 P5: each of them is on record once');
is($node->sql(q{
SELECT count(*) FROM capi.delivery d
 WHERE NOT EXISTS (SELECT FROM shop.orders o WHERE o.id::text = d.key AND o.status = 'paid')}), 0,
	'P4: and nothing else is');
$node->deliveries_ok('P3 P5: those to be sent were', max_repeats => 400 * $deaths);
is($node->sql('SELECT missed FROM capi._slot()'), 0, 'P1: none was missed');
ok($node->wait_for("SELECT sum(pg_relation_size('capi.queue_' || n)) < 4000000 FROM generate_series(0, 3) n"),
	'P12: the queue is small again');

done_testing();
