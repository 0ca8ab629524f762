# P12: CALL capi.deliver() that is cut off, by a cancel, a timeout or an error, wherever
# it is; the session goes on, and nothing is lost.  A server with assertions sees most.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0);
$node->install_capi;
$node->attach;

# What is told to happen in it happens when capi writes to one of its tables.
$node->sql(q{
CREATE TABLE public.mishap (at text, what text);
CREATE FUNCTION public.meet() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE m text := (SELECT what FROM public.mishap WHERE at = TG_RELNAME);
BEGIN
    IF m = 'sleep' THEN PERFORM pg_sleep(600); END IF;
    IF m = 'fail' THEN RAISE 'mishap'; END IF;
    RETURN NULL;
END $$;
});
$node->sql("CREATE TRIGGER meet AFTER INSERT OR UPDATE ON capi.$_ FOR EACH STATEMENT EXECUTE FUNCTION public.meet()")
  foreach qw(backlog state);

my $one = $node->session;
my $pid = $one->pid;
my $orders = 0;
my $log = $node->log_size;

sub waiting { return $node->wait_for("SELECT wait_event = '$_[0]' FROM pg_stat_activity WHERE pid = $pid AND state = 'active'") }

# Afterwards the same session does what it could not.
sub goes_on
{
	my ($name) = @_;

	$node->sql('DELETE FROM public.mishap');
	is($one->sql('SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = $$userlock$$'), 0,
		"P12: $name: the lock is given back");
	is($one->sql("SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'capi dispatcher%' OR name LIKE 'capi queue%'"), 0,
		"P12: $name: so is its memory");
	is($one->sql('CALL capi.deliver()'), '', "P3: $name: the session goes on");
	$orders += 3;
	is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered'"), $orders, "P3: $name: nothing is lost");
	return;
}

# --- while it writes -----------------------------------------------------------

foreach my $table (qw(backlog state))
{
	foreach my $how (qw(cancel timeout error))
	{
		# with an order that waits for its dataset there is a row of the backlog
		$node->sql("INSERT INTO public.mishap VALUES ('$table', '" . ($how eq 'error' ? 'fail' : 'sleep') . "')");
		$node->sql("SELECT capi.pause_dataset('main')");
		$node->pay($node->place_orders(3));
		$one->sql($how eq 'timeout' ? "SET statement_timeout = '300ms'" : 'RESET statement_timeout');
		$one->send('CALL capi.deliver()');
		if ($how eq 'cancel')
		{
			waiting('PgSleep') or die "not in $table";
			$node->sql("SELECT pg_cancel_backend($pid)");
		}
		like($one->answer, { cancel => qr/user request/, timeout => qr/statement timeout/, error => qr/mishap/ }->{$how},
			"P12: $how while it writes to $table");
		$one->sql('RESET statement_timeout');
		$node->sql("SELECT capi.resume_dataset('main')");
		goes_on("$how, $table");
	}
}

# --- while it waits --------------------------------------------------------------

$sandbox->misbehave(hang => JSON::PP::true());
$node->pay($node->place_orders(3));
$one->send('CALL capi.deliver()');
$sandbox->wait_for(hanging => 1) or die;
$node->sql("SELECT pg_cancel_backend($pid)");
like($one->answer, qr/user request/, 'P12: cancel while it waits for an answer');
$sandbox->release;
goes_on('cancel, answer');

# --- at its end ------------------------------------------------------------------

$node->sql("INSERT INTO public.mishap VALUES ('state', 'fail')");
$node->pay($node->place_orders(3));
$one->send('CALL capi.deliver()');
like($one->answer, qr/mishap/, 'P12: an error at the end');
goes_on('error after the answer');

$one->quit;
unlike($node->log_since($log), qr/TRAP:|terminated by signal|WARNING:/, 'P12: no process ended, and the server has nothing to warn of');

done_testing();
