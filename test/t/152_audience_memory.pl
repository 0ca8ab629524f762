# A long list costs no more memory than a short one, in neither process, and no
# order waits for it.  So many that the list is sorted in files while rows come.
# CAPI_AUDIENCE_PEOPLE=1000000 is what doc/audiences.md tells of.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils qw(slurp_file);

my $people = $ENV{CAPI_AUDIENCE_PEOPLE} // 300_000;
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '500ms'\ncapi.query_timeout = '60s'");
my %most;
my @waits;

# Memory of its own of each process of capi's, in kilobytes, at its highest.
sub note_memory
{
	foreach my $line (split /\n/,
		$node->sql("SELECT backend_type, pid FROM pg_stat_activity WHERE backend_type LIKE 'capi%'"))
	{
		my ($type, $pid) = split /\|/, $line;
		my $status = eval { slurp_file("/proc/$pid/status") } // next;

		$most{$type} = $1 if $status =~ /^RssAnon:\s+(\d+)/m && $1 > ($most{$type} // 0);
	}
	return;
}

# How long an order takes meanwhile, in seconds.
sub note_wait
{
	my ($id) = $node->place_orders(1);
	my $start = time;

	$node->pay($id);
	until ($sandbox->events(event_id => $id)) { usleep(2000); die 'never' if time > $start + 60 }
	push @waits, time - $start;
	return;
}

sub follow
{
	my ($condition, $name) = @_;
	my $start = time;

	until ($node->sql("SELECT $condition FROM capi.audience_status") eq 't')
	{
		note_memory();
		note_wait();
		last if time > $start + 900;
	}
	is($node->sql("SELECT $condition FROM capi.audience_status"), 't', $name)
	  || diag($node->sql('SELECT * FROM capi.audience_status'));
	note(sprintf '%s: %.1f s', $name, time - $start);
	return;
}

$node->install_capi;
$node->attach;
$node->sql(qq{
CREATE TABLE shop.customers (id int PRIMARY KEY, email text, phone text, consent boolean NOT NULL DEFAULT true);
INSERT INTO shop.customers SELECT n, format('c%s\@example.com', n), format('+49 171 %s', 1000000 + n)
  FROM generate_series(1, $people) n}, 'shop_owner');
$node->sql(q{SELECT capi.create_audience('all', 'main', '777',
    'SELECT id AS key, email AS em, phone AS ph, consent FROM shop.customers')}, 'shop_owner');
follow("state = 'ok' AND members = $people AND waiting = 0", 'a list is made');
is($sandbox->get('audiences?limit=0')->{audiences}{'777'}{members}, $people, 'Meta has them all');
is($node->sql('SELECT invalid FROM capi.audience_status'), '0', 'each as Meta wants it');

$node->sql("UPDATE shop.customers SET consent = false WHERE id % 1000 = 0; SELECT capi.refresh_audience('all')", 'shop_owner');
follow("state = 'ok' AND removed = $people / 1000 AND waiting = 0", 'and followed');

note("memory, kB: $_ $most{$_}") foreach sort keys %most;
@waits = sort { $a <=> $b } @waits;
note(sprintf 'orders meanwhile: %d, median %.0f ms, longest %.0f ms', scalar @waits, 1000 * $waits[$#waits / 2],
	1000 * $waits[-1]);
cmp_ok($most{'capi dispatcher'}, '<', 48 * 1024, 'P12: memory of the dispatcher');
cmp_ok($most{'capi reader'}, '<', 96 * 1024, 'P12: memory of the reader');
cmp_ok($waits[-1], '<', 10, 'P6: no order waits for the list');
done_testing();
