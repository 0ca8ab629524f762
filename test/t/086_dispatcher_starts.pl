# P10: a dispatcher that had no time to start yet is said to start; nothing is blamed.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

# The launcher stops where it is, so that nothing happens between two looks.
sub look { return $node->sql(q{SELECT ok, detail, hint FROM capi.diagnose() WHERE "check" = 'dispatcher'}) }

my $starting = 'f|The dispatcher of this database is starting.|Look again in some seconds.';
my $blamed = qr/^f\|No dispatcher runs for this database; state: .*max_worker_processes/;

sub told
{
	my ($name) = @_;

	is(look(), $starting, "P10: $name: it is starting");
	ok($node->wait_for(q{SELECT hint ~ 'max_worker_processes' FROM capi.diagnose() WHERE "check" = 'dispatcher'}, 30),
		"P10: $name: not for ever");
	like(look(), $blamed, "P10: $name: then the log is pointed to");
	return;
}

# --- just after CREATE EXTENSION -------------------------------------------------

$node->sql('CREATE EXTENSION capi');
$node->wait_for('SELECT launcher_pid IS NOT NULL FROM capi._slot()') or die;
my $pid = $node->sql('SELECT launcher_pid FROM capi._slot()');
$node->dispatcher_pid;
$node->sql('DROP EXTENSION capi');
$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
kill 'STOP', $pid;
$node->sql('CREATE EXTENSION capi');
told('a new extension');
kill 'CONT', $pid;
$node->dispatcher_pid;
like(look(), qr/^t\|The dispatcher runs as process \d+\.\|$/, 'P10: and then it runs');

# --- just after it was listed -------------------------------------------------------

$node->change('capi.databases' => '');
$node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
unlike(look(), qr/starting/, 'P10: one that is not listed does not start');
kill 'STOP', $pid;
$node->change('capi.databases' => 'shop');
is(look(), $starting, 'P10: one that was listed just now does');
kill 'CONT', $pid;
$node->dispatcher_pid;

done_testing();
