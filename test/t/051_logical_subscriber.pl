# P3, P4 and P5 on a logical subscriber: the shop is elsewhere, and its orders
# arrive by replication, with session_replication_role = replica.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $publisher = CapiTest::Node->create('publisher', preload => 0, init => [ allows_streaming => 'logical' ]);
my $subscriber = CapiTest::Node->create('subscriber', sandbox => $sandbox, databases => 'shop, mirror',
	# two dispatchers with readers, beside the workers of two subscriptions
	conf => 'max_worker_processes = 16');
my $mirror = $subscriber->in_database('mirror', dataset_id => '222');
$mirror->create_shop;

foreach my $shop ($subscriber, $mirror)
{
	$shop->install_capi;
	$shop->attach(fire_on_replica => $shop == $mirror ? 'true' : 'false');
}
my @old = $publisher->place_orders(12);
$publisher->pay(@old[ 0 .. 6 ]);
$publisher->sql('CREATE PUBLICATION shop FOR TABLE shop.orders');
my $from = $publisher->connstr . ' dbname=shop';

sub subscribe
{
	my ($shop, $name) = @_;

	$shop->sql("CREATE SUBSCRIPTION $name CONNECTION '$from application_name=$name' PUBLICATION shop");
	$shop->wait_for("SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate <> 'r'") or die;
	return;
}

sub caught_up
{
	my ($name) = @_;

	$publisher->poll_query_until('postgres', "SELECT pg_current_wal_lsn() <= replay_lsn AND state = 'streaming'"
		  . " FROM pg_stat_replication WHERE application_name = '$name'") or die;
	return;
}

sub captured
{
	my ($shop) = @_;

	return $shop->sql("SELECT count(*) FROM capi.delivery_status");
}

# --- fire_on_replica = false ---------------------------------------------------

subscribe($subscriber, 'plain');
$publisher->pay($old[7]);
$publisher->pay($publisher->place_orders(2));
caught_up('plain');
is($subscriber->sql("SELECT count(*) FROM shop.orders WHERE status = 'paid'"), 10, 'the orders arrive');
is(captured($subscriber), 0, 'P4: with fire_on_replica false, replicated orders are no events');
$subscriber->sql("UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id = $old[8]");
$subscriber->sql("UPDATE shop.orders SET status = 'cancelled' WHERE id = $old[8]");
$subscriber->wait_until_idle;
is(captured($subscriber), 1, 'and those of the subscriber itself are');
$subscriber->sql('SET session_replication_role = replica; ' . $subscriber->pay_statement($old[9]));
is(captured($subscriber), 1, 'P4: session_replication_role counts in any session');

# --- switched on ---------------------------------------------------------------

$subscriber->sql("SELECT capi.alter_source('paid_orders', fire_on_replica => true)");
my $before = $sandbox->stats->{events};
my @new = $publisher->place_orders(30);
$publisher->pay(@new);
$publisher->sql('BEGIN; SAVEPOINT a; ' . $publisher->pay_statement($old[10])
	  . '; ROLLBACK TO a; ' . $publisher->pay_statement($old[11]) . '; COMMIT');
caught_up('plain');
$subscriber->wait_until_idle;
is($sandbox->stats->{events}, $before + 31, 'P3: with fire_on_replica true each new one is');
is(captured($subscriber), 32, 'P5: and no old one');

# --- on from the beginning -------------------------------------------------------

subscribe($mirror, 'mirror');
caught_up('mirror');
$mirror->wait_until_idle;
is(scalar keys %{ $mirror->committed }, 41, 'the whole table was copied');
$mirror->deliveries_ok('P3: the initial copy counts, too');
$publisher->pay($publisher->place_orders(5));
$publisher->sql("UPDATE shop.orders SET status = status");
caught_up('mirror');
$mirror->wait_until_idle;
$mirror->deliveries_ok('P5: and nothing twice');

# the subscriber crashes while transactions arrive
my @late = $publisher->place_orders(60);
$publisher->pay($_) foreach @late[ 0 .. 19 ];
$subscriber->stop('immediate');
$publisher->pay($_) foreach @late[ 20 .. 39 ];
$subscriber->start;
$publisher->pay($_) foreach @late[ 40 .. 59 ];
caught_up('mirror');
$mirror->wait_until_idle;
is(scalar keys %{ $mirror->committed }, 106, 'all arrive');
$mirror->deliveries_ok('P3: a crash of the subscriber', max_repeats => 20);
is($mirror->sql("SELECT count(*) FROM capi.delivery_status WHERE status <> 'delivered'"), 0, 'P10: and on record');

$mirror->sql('SET session_replication_role = replica; ' . $mirror->pay_statement($old[10]));
$mirror->wait_until_idle;
$mirror->deliveries_ok('P3: session_replication_role = replica in a session', max_repeats => 20);

done_testing();
