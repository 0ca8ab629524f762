# P8: tokens are in the memory of the process that sends while it sends, and in
# no other; an error takes them away like the normal end does.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $in_file = 'EAAfileQqXyzzy1234567890abcdef';
my $sealed = 'EAAsealedWwXyzzy0987654321fedcba';
my $typed = 'EAAtypedUuXyzzy1122334455667788';
my $app_secret = 'appsecretVvXyzzy55555555';
my $sandbox = CapiTest::Sandbox->new('--token', $in_file, '--token', $sealed);
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => '', start => 0);
my $token_file = $node->basedir . '/token';
my $key_file = $node->basedir . '/key';

append_to_file($token_file, "$in_file\n");
append_to_file($key_file, 'k' x 64);
chmod 0600, $token_file, $key_file;
$node->append_conf('postgresql.conf', "capi.key_file = '$key_file'");
$node->start;
$node->create_shop;
$node->install_capi(access_token_file => $token_file);
$node->create_dataset(name => 'second', access_token => $sealed, app_secret => $app_secret);
$node->attach;
$node->attach(source => 'to_second', dataset => 'second');
my @ids = $node->place_orders(3);
$node->pay(@ids);

# Names of the secrets that are found in what the process has of its own and
# in what it shares with others.
sub found_in
{
	my ($session) = @_;
	my %found;
	my $pid = $session->pid;

	open my $mem, '<:raw', "/proc/$pid/mem" or die "cannot read the memory of $pid: $!";
	foreach my $mapping (split /\n/, slurp_file("/proc/$pid/maps"))
	{
		my ($from, $until, $rights) = $mapping =~ /^([0-9a-f]+)-([0-9a-f]+) (\S+)/ or next;
		my ($at, $end, $tail) = (hex $from, hex $until, '');

		next unless $rights =~ /^rw/;
		while ($at < $end)
		{
			my $size = $end - $at < 1 << 20 ? $end - $at : 1 << 20;

			last unless sysseek($mem, $at, 0) && sysread($mem, my $bytes, $size);
			$bytes = $tail . $bytes;
			$found{file} = 1 if index($bytes, $in_file) >= 0;
			$found{sealed} = 1 if index($bytes, $sealed) >= 0;
			$found{typed} = 1 if index($bytes, $typed) >= 0;
			$found{app_secret} = 1 if index($bytes, $app_secret) >= 0;
			$tail = substr $bytes, -64;
			$at += $size;
		}
	}
	close $mem;
	return join ' ', sort keys %found;
}

# Runs it in a session of its own, as superuser, and looks at what is left there.
sub leaves_nothing
{
	my ($sql, $what, $error) = @_;
	my $session = $node->session;

	$session->send($sql);
	like($session->answer // '', $error // qr/./, "$what does what it should");
	is(found_in($session), '', "P8: $what leaves no token behind");
	$session->quit;
	return;
}

# --- a process that sends has them, so what follows can find them -----------------

$sandbox->misbehave(hang => JSON::PP::true(), times => 2);
my $sender = $node->session;
my $pid = $sender->pid;
$sender->send('CALL capi.deliver()');
$sandbox->wait_for(hanging => 2) or die;
is(found_in($sender), 'file sealed', 'P8: a process that sends has the tokens, and no app secret');

# --- what ends it by force takes them along -----------------------------------------

ok($node->sql("SELECT pg_cancel_backend($pid)"), 'cancelled');
like($sender->answer, qr/canceling statement/, 'while requests are under way');
is(found_in($sender), '', 'P8: they are gone with the error');
$sandbox->behave;
$sandbox->release;
unlike($sender->sql('CALL capi.deliver(); SELECT 1'), qr/ERROR/, 'the same session delivers');
is(found_in($sender), '', 'P8: and has none when it is done');
$sender->quit;

# --- who sets one in SQL keeps it to himself ------------------------------------------

my $setter = $node->session;
$setter->sql("SELECT capi.set_access_token(name => 'second', access_token => '$typed')");
my $other = $node->session;
unlike(found_in($other), qr/typed/, 'P8: what one session typed is not in the memory that all share');
$other->quit;
$setter->sql("SELECT capi.set_access_token('second', '$sealed')");
$setter->quit;

# --- who does not send never has them ------------------------------------------------

leaves_nothing("SELECT count(*) FROM capi.preview('paid_orders')", 'preview()', qr/3/);
leaves_nothing("SELECT capi.pixel_event('paid_orders', '$ids[0]')", 'pixel_event()', qr/event_id/);
leaves_nothing("SELECT count(*) FROM capi.match_quality('paid_orders')", 'match_quality()', qr/^\d/);
leaves_nothing('SELECT count(*) FROM capi.health', 'capi.health', qr/2/);
leaves_nothing('SELECT count(*) FROM capi.diagnose()', 'diagnose()', qr/^\d/);
leaves_nothing("SELECT count(*) FROM capi.preview('nothing')", 'preview() of an unknown source', qr/does not exist/);
leaves_nothing("SELECT count(*) FROM capi.test_dataset('main')", 'test_dataset()', qr/4/);
leaves_nothing("SELECT count(*) FROM capi.test_dataset('second')", 'test_dataset() of a sealed one', qr/4/);
leaves_nothing("SELECT count(*) FROM capi.test_dataset('main', 'a b')", 'test_dataset() with a bad code',
	qr/invalid test_event_code/);
leaves_nothing("SELECT count(*) FROM capi.test_dataset('nothing')", 'test_dataset() of an unknown one', qr/does not exist/);

# a function that looks around while it is called by the query
my $look = $node->session;
$node->sql('CREATE FUNCTION shop.wait(text) RETURNS text LANGUAGE plpgsql AS'
	  . ' $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN $1; END $$; CREATE FUNCTION shop.fail(text) RETURNS text'
	  . ' LANGUAGE sql AS $$ SELECT (1 / (length($1) - length($1)))::text $$', 'shop_owner');
my $query = q{SELECT o.id AS key, o.paid_at AS event_time, shop.%s(o.email) AS em, o.total AS value, o.currency FROM shop.orders o};

sub set_query
{
	$node->sql("SELECT capi.alter_source('paid_orders', query => '" . sprintf($query, $_[0]) . "')", 'shop_owner');
	return;
}

set_query('fail');
leaves_nothing("SELECT count(*) FROM capi.preview('paid_orders')", 'preview() of a query that fails', qr/division by zero/);
leaves_nothing("SELECT capi.pixel_event('paid_orders', '$ids[0]')", 'pixel_event() of a query that fails', qr/division by zero/);
leaves_nothing("SELECT count(*) FROM capi.match_quality('paid_orders')", 'match_quality() of a query that fails', qr/division by zero/);

set_query('wait');
$look->sql('SELECT pg_advisory_lock(7)');
foreach my $call ("capi.preview('paid_orders')", "capi.pixel_event('paid_orders', '$ids[0]')", "capi.match_quality('paid_orders')")
{
	my $session = $node->session;

	$pid = $session->pid;
	$session->send("SELECT count(*) FROM $call");
	$node->wait_for("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $pid") or die;
	is(found_in($session), '', "P8: $call has no token while the shop's code runs");
	$node->sql("SELECT pg_cancel_backend($pid)");
	like($session->answer, qr/canceling statement/, 'cancelled');
	is(found_in($session), '', 'P8: nor after it');
	$session->quit;
}

done_testing();
