# P1, P3, P5: a disk that is full under the log; under the WAL: t/191_full_wal.
# The shop's orders get no error of ours, nothing is lost, and what was sent is
# not sent again and again because it cannot be recorded.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::World;

my $sandbox = CapiTest::Sandbox->new;
my $world = CapiTest::World->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0,
	init => [ extra => [ '--encoding=UTF8', '--locale=C.UTF-8', '--wal-segsize=1' ] ],
	conf => "capi.poll_interval = '300ms'\nautovacuum = off\nmin_wal_size = '2MB'\nmax_wal_size = '4MB'\nwal_recycle = off");

$world->start($node);
$node->create_shop;
$node->install_capi;
$node->attach;
$node->pay($node->place_orders(3));
$node->wait_until_idle;

# Files of a table and of all that belongs to it.
sub files
{
	my (@tables) = @_;

	return split /\n/, $node->sql("SELECT pg_relation_filepath(r) FROM (SELECT relid FROM unnest('{"
		  . join(',', @tables) . "}'::regclass[]) t, pg_partition_tree(t) UNION SELECT t FROM unnest('{"
		  . join(',', @tables) . "}'::regclass[]) t) p (t), LATERAL (SELECT t UNION SELECT indexrelid FROM pg_index WHERE indrelid = t) f (r)"
		  . ' WHERE pg_relation_filepath(r) IS NOT NULL');
}

# --- the log ---------------------------------------------------------------------

# Rows that fill what room is left in the last block.
foreach my $part ([ log => 'capi.delivery' ])
{
	my ($name, $table) = @$part;
	my $log = $node->log_size;
	my $before = $node->repeats;

	$world->set(full => [ files($table) ]);
	foreach my $n (1 .. 40)
	{
		$node->pay($node->place_orders(100));
		last if $node->log_since($log) =~ /No space left on device/;
	}
	ok($node->wait_for_log(qr/No space left on device/, $log), "the disk is full under the $name");
	my $sent = $sandbox->stats->{requests};
	$node->pay($node->place_orders(10)) foreach 1 .. 5;
	$sandbox->wait_for(requests => $sent + 5);
	cmp_ok($node->repeats - $before, '<=', 1000, "P5: the $name is full: what was sent is not sent again and again");
	$world->set;
	$node->wait_until_idle;
	$node->deliveries_ok("P3: the $name was full", max_repeats => $before + 1000);
}

done_testing();
