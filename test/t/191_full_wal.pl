# P3, P5: the disk is full under the WAL.  The server stops, as PostgreSQL does,
# and cannot start before there is room.  Then every order that was committed
# arrives, none twice but those whose answers the server could not note, and
# capi stops it no second time.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;
use CapiTest::World;

my $sandbox = CapiTest::Sandbox->new;
my $world = CapiTest::World->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0,
	init => [ extra => [ '--encoding=UTF8', '--locale=C.UTF-8', '--wal-segsize=1' ] ],
	conf => "capi.poll_interval = '200ms'\nautovacuum = off\nmin_wal_size = '2MB'\nmax_wal_size = '64MB'\nwal_recycle = off");
my $pid_file = $node->data_dir . '/postmaster.pid';
my $log;

$world->start($node);
$node->create_shop;
$node->install_capi;
$node->attach;
$node->pay($node->place_orders(3));
$node->wait_until_idle;

# Nothing of the WAL becomes larger, and there is room for some 40 kB.
sub fill
{
	# a segment that is there already is as good as room
	$node->sql('CHECKPOINT');
	$log = $node->log_size;
	$world->set(full => ['pg_wal/']);
	$node->sql("SELECT count(pg_logical_emit_message(true, 'x', repeat('x', 10000)))"
		  . " FROM generate_series(1, (1048576 - (pg_current_wal_insert_lsn() - '0/0')::bigint % 1048576 - 40000) / 10000)");
	return;
}

sub panics { return scalar(() = $node->log_since($log) =~ /PANIC:  .*No space left on device/g) }

sub wait_until_down
{
	my ($name) = @_;
	my $end = time + 60;

	usleep(50_000) while -e $pid_file && time < $end;
	ok(!-e $pid_file, "$name: the server stops, and cannot start");
	cmp_ok(panics(), '>=', 1, "$name: for want of room for the WAL");
	return;
}

# Nobody sends yet, so that can be seen what the server has kept.
sub make_room
{
	$world->set;
	$node->append_conf('postgresql.conf', "capi.databases = ''");
	$log = $node->log_size;
	# it is not there any more, which its object does not know
	$node->stop('fast', fail_ok => 1);
	$world->start($node);
	return;
}

sub go_on
{
	my ($name, $unnoted) = @_;
	my $before = $node->repeats;

	$node->change('capi.databases' => $node->database);
	$node->wait_until_idle;
	$node->deliveries_ok("P3 P5: $name", max_repeats => $before + $unnoted);
	is(scalar(grep { $_->{count} > 2 } $sandbox->events(brief => 1)), 0, "P5: $name: none a third time");
	$node->pay($node->place_orders(5));
	$node->wait_until_idle;
	$node->deliveries_ok("P3 P5: $name, later", max_repeats => $before + $unnoted);
	unlike($node->log_since($log), qr/PANIC|terminated by signal/, "$name: the server runs on");
	return;
}

# --- orders fill it -----------------------------------------------------------------

fill();
my $session = $node->session(role => 'shop_app');
my $paid = 0;
while ($paid < 1000 && eval { $session->sql("INSERT INTO shop.orders (total, email, status, paid_at)"
	  . " SELECT n, 'c' || n || '\@example.com', 'paid', now() FROM generate_series(1, 100) n"); 1 })
{
	$paid++;
}
cmp_ok($paid, '<', 1000, 'the shop can sell no more');
wait_until_down('orders fill it');
my $sent = $sandbox->stats->{events};
make_room();
my $noted = $node->sql("SELECT count(*) FROM capi.delivery WHERE outcome = 'delivered'");
go_on('orders fill it', $sent - $noted);

# --- outcomes fill it ---------------------------------------------------------------

my $last = $sandbox->stats->{events};
$noted = $node->sql("SELECT count(*) FROM capi.delivery WHERE outcome = 'delivered'");
$node->hang(1000);
# what is to be noted of the answer needs more
fill();
$sandbox->behave;
$sandbox->release;
wait_until_down('outcomes fill it');
$sent = $sandbox->stats->{events} - $last;
cmp_ok($sent, '>=', 1000, 'what cannot be noted was received');
cmp_ok($sent, '<=', 1000, 'P5: while the disk is full none is sent twice');
make_room();
$noted = $node->sql("SELECT count(*) FROM capi.delivery WHERE outcome = 'delivered'") - $noted;
go_on('outcomes fill it', $sent - $noted);

done_testing();
