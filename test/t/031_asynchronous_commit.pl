# P3 and P4 with synchronous_commit = off: a crash takes the last orders away.
# None of those was reported, and every one that is left is.
use strict;
use warnings;

use IPC::Run;
use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "wal_writer_delay = '10s'\ncapi.request_timeout = '10min'\ncapi.poll_interval = '500ms'");
my $repeats = 0;
my @promised;    # orders whose commit the shop was told of

$node->install_capi;
$node->attach;
$node->sql('ALTER ROLE shop_app SET synchronous_commit = off');
$node->pay($node->place_orders(3));
$node->wait_until_idle;

# How many of the orders that were promised are gone.
sub lost
{
	my %left = map { $_ => 1 } split /\n/, $node->sql('SELECT id FROM shop.orders');

	return scalar grep { !$left{$_} } @promised;
}

# --- what was sent is on disk --------------------------------------------------

# A value that the query read must survive as well, not only the capture.
my ($order) = $node->place_orders(1);
$node->sql("SELECT capi.pause('paid_orders')");
$node->pay($order);
$node->wait_for("SELECT reason = 'source paused' FROM capi.delivery_status WHERE order_key = '$order'") or die;
$sandbox->misbehave(hang => JSON::PP::true(), accept => JSON::PP::true());
$node->sql("UPDATE shop.orders SET total = 77.77 WHERE id = $order", 'shop_app');
$node->sql("SET synchronous_commit = off; SELECT capi.resume('paid_orders')");
$sandbox->wait_for(hanging => 1) or die;
$node->stop('immediate');
my ($event) = $sandbox->events(event_id => $order);
$sandbox->release;
$node->start;
is(sprintf('%.2f', $event->{event}{custom_data}{value}),
	$node->sql("SELECT total FROM shop.orders WHERE id = $order"), 'P4: the value that was sent is on disk');
$node->sql("SELECT capi.resume('paid_orders')");
$node->wait_until_idle;
$node->deliveries_ok('P3: and nothing is lost', max_repeats => ++$repeats);

# The death of the WAL writer, which is stopped meanwhile, is a crash of all.
foreach my $round (1 .. 2)
{
	my $walwriter = $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
	kill 'STOP', $walwriter;
	my @ids = $node->hang(3);
	push @promised, @ids;
	$repeats += @ids;

	# what comes now stays unread
	my $blocker = $node->session;
	$blocker->sql('BEGIN; LOCK TABLE capi.delivery');
	my $app = $node->session(role => 'shop_app');
	push @promised, $app->sql("INSERT INTO shop.orders (total, email, status, paid_at)"
		  . " VALUES ($_, 'lost.$_\@example.com', 'paid', now()) RETURNING id")
	  foreach 1 .. 20;

	my $lost = lost();
	my $received = $node->received;
	kill 'KILL', $walwriter;
	$node->poll_query_until('postgres', "SELECT pid <> $walwriter FROM pg_stat_activity WHERE backend_type = 'walwriter'")
	  or die;
	$sandbox->release;
	cmp_ok(lost(), '>', $lost, "P4: the crash takes promised orders away, round $round");
	is((scalar grep { !$node->committed->{$_} } keys %$received), 0, 'P4: none of them was reported');
	$node->wait_until_idle;
	$node->deliveries_ok('P3: all that are left are', max_repeats => $repeats);
}

# --- in the middle of business -------------------------------------------------

my $script = $node->basedir . '/orders.sql';
my $statement = "INSERT INTO shop.orders (total, email, status, paid_at)"
  . " VALUES (5, 'busy\@example.com', 'paid', now()) RETURNING id;\n";
append_to_file($script, $statement x 20_000);
foreach my $round (1 .. 2)
{
	my $out = '';
	my $shop = IPC::Run::start(
		[ 'psql', '-XqAt', '-d', $node->connstr('shop'), '-U', 'shop_app', '-f', $script ],
		'>', \$out, '2>', '/dev/null');

	$sandbox->misbehave(hang => JSON::PP::true(), accept => JSON::PP::true(), times => undef);
	$sandbox->wait_for(hanging => 2) or die;
	$shop->pump_nb until length($out) > 1000;
	$node->stop('immediate');
	$shop->finish;
	my $received = $node->received;
	$sandbox->behave;
	$sandbox->release;
	$node->start;
	my $committed = $node->committed;
	is((scalar grep { !$committed->{$_} } keys %$received), 0,
		"P4: crash in the middle of business, round $round: nothing was reported that is gone");
	$repeats += grep { $committed->{$_} } keys %$received;
	$node->wait_until_idle;
	$node->deliveries_ok('P3: all that are left are', max_repeats => $repeats);
}

done_testing();
