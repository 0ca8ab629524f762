# P4: a physical copy has the identity and the configuration of the server that it was
# made of; where capi.only_on does not name it, it is silent.
use strict;
use warnings;

use Sys::Hostname;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $shop = CapiTest::Node->create('shop', sandbox => $sandbox, init => [ allows_streaming => 1 ]);
my $here = $shop->data_dir;
my $host = (split /\./, hostname())[0];

$shop->install_capi;
$shop->attach;
$shop->change('capi.only_on' => $here);
$shop->pay($shop->place_orders(3));
$shop->wait_until_idle;
$shop->deliveries_ok('P3: the place that is named sends');
is($shop->sql(q{SELECT ok, detail FROM capi.diagnose() WHERE "check" = 'place'}), 't|capi.only_on names this server.', 'P10: and says so');

# The copy has orders that wait: those it must not send, for the shop does.
$shop->sql("SELECT capi.pause_dataset('main')");
$shop->pay($shop->place_orders(5));
$shop->wait_for("SELECT count(*) = 5 FROM capi.delivery_status WHERE status = 'queued'") or die;
$shop->backup('base');
my $copy = CapiTest::Node->new('copy')->use_sandbox($sandbox);
$copy->init_from_backup($shop, 'base');
$copy->start;
$copy->dispatcher_pid;
is($copy->sql('SELECT system_identifier FROM pg_control_system()'), $shop->sql('SELECT system_identifier FROM pg_control_system()'),
	'a copy of the same identity, beside the shop');
is($copy->sql('SHOW capi.only_on'), $here, 'and of the same configuration');
my $requests = $sandbox->stats->{requests};

# --- silent, whatever else is set ------------------------------------------------

# The dispatcher is told of orders, and then ends; a session that delivers in its place
# has done all it would do when it returns.
sub is_silent
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$copy->pay($copy->place_orders(2));
	is($copy->sql('SELECT state FROM capi.health'), 'elsewhere', "P10: $name: health says why");
	$copy->change('capi.databases' => '');
	$copy->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'") or die;
	my ($status, $out, $err) = $copy->psql('shop', 'CALL capi.deliver()');
	like($err, qr/^\S+ NOTICE:  capi.only_on does not name this server: nothing is sent$/, "P10: $name: so does deliver()");
	is($sandbox->stats->{requests}, $requests, "P4: $name: nothing is sent");
	$copy->change('capi.databases' => 'shop');
	$copy->dispatcher_pid;
	return;
}

$copy->sql("SELECT capi.resume_dataset('main')");
is_silent('a copy');
is($copy->sql('SELECT reason FROM capi.health'), qq{capi.only_on does not name this server, which is "$host:} . $copy->data_dir . '"',
	'P10: and which place this is');
is($copy->sql(q{SELECT ok, hint FROM capi.diagnose() WHERE "check" = 'place'}),
	"f|On a copy, leave it. If this server is to send: ALTER SYSTEM SET capi.only_on = '$host:" . $copy->data_dir . q{'; SELECT pg_reload_conf();},
	'P10: diagnose() says what to do');
is($copy->sql(q{SELECT ok, detail FROM capi.test_dataset('main', 'TEST1') WHERE "check" = 'place'}),
	'f|capi.only_on does not name this server: nothing is sent.', 'P4: a test asks nobody either');
like($copy->refuses("SET capi.only_on = ''"), qr/55P02/, 'P9: no session can set it');
like($copy->refuses("ALTER DATABASE shop SET capi.only_on = ''"), qr/55P02/, 'P9: nor can a database');
$copy->change('capi.enabled' => 'on');
$copy->change('capi.local_checks' => 'off');
is_silent('with other settings');
$copy->restart;
$copy->dispatcher_pid;
is_silent('started again');

# --- and the shop goes on ---------------------------------------------------------

$shop->sql("SELECT capi.resume_dataset('main')");
$shop->wait_until_idle;
$shop->deliveries_ok('P3: the shop sends what waited');
is($shop->sql("SELECT state FROM capi.health"), 'ok', 'P10: and is well');

# --- names of places -----------------------------------------------------------------

# pg_reload_conf() is heard by each process in its own time
sub named { my ($node, $value) = @_; $node->change('capi.only_on' => $value); return $node->wait_for('SELECT current_setting($$capi.only_on$$) = ' . "'$value'") }
sub elsewhere { return $_[0]->sql('SELECT capi._elsewhere() IS NOT NULL') }

foreach my $case (
	[ $host, 'f', 'a host' ],
	[ uc($host), 'f', 'in other letters' ],
	[ 'no-such-host', 't', 'another host' ],
	[ "no-such-host, $host", 'f', 'one of two' ],
	[ "$host:" . $copy->data_dir, 'f', 'host and directory' ],
	[ "$host:$here", 't', 'another directory of this host' ],
	[ 'no-such-host:' . $copy->data_dir, 't', 'the same directory of another host' ],
	[ $copy->data_dir . '/', 'f', 'a directory, written otherwise' ],
	[ '/no/such/directory', 't', 'a directory that is not there' ],
	[ substr($host, 0, -1) || 'x', 't', 'a part of a name' ])
{
	my ($value, $expected, $name) = @$case;

	named($copy, $value);
	is(elsewhere($copy), $expected, "P4: $name");
}

# hosts of one name, as of containers, are told apart by their environment
$shop->stop;
$copy->stop;
$copy->append_conf('postgresql.conf', "capi.only_on = 'production'");
{
	local $ENV{CAPI_PLACE} = 'staging';
	$copy->start;
}
$requests = $sandbox->stats->{requests};
$copy->dispatcher_pid;
is_silent('CAPI_PLACE is another');
like($copy->sql('SELECT reason FROM capi.health'), qr/which is "staging"/, 'P10: the place is what the environment says');
$copy->stop;
{
	local $ENV{CAPI_PLACE} = 'production';
	$copy->start;
}
$copy->dispatcher_pid;
$copy->wait_until_idle;
is($copy->sql("SELECT state FROM capi.health"), 'ok', 'P3: where the environment is that of the shop, the copy sends');
cmp_ok($sandbox->stats->{requests}, '>', $requests, 'P3: what waited there');
is($copy->sql("SELECT count(*) FROM capi.delivery_status WHERE status <> 'delivered'"), 0, 'P3: all of it');

# --- lists ------------------------------------------------------------------------------

like($copy->refuses(q{ALTER SYSTEM SET capi.only_on = '"a'}), qr/22023/, 'P10: a list that cannot be read is refused');

done_testing();
