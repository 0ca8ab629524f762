# P8: with the server's own logging, a function that takes a secret brings it into
# no log, wherever it is called from, whether it succeeds or fails.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use PostgreSQL::Test::Utils;

my $secret = 'EAAsecretQqXyzzy1234567890';
my $node = CapiTest::Node->create('main', databases => '', conf => <<'EOC');
log_statement = none
log_min_messages = warning
log_min_error_statement = error
log_min_duration_statement = -1
log_error_verbosity = verbose
EOC
$node->safe_psql('postgres', 'CREATE ROLE admin LOGIN');
$node->sql('CREATE EXTENSION capi');
$node->sql("SELECT capi.grant_access('admin', 'admin')");

# Each statement, from the outermost of these; $call is an expression.
my %from = (
	'a statement' => sub { "SELECT $_[0];" },
	'a DO block' => sub { "DO \$do\$ BEGIN PERFORM $_[0]; END \$do\$;" },
	'dynamic SQL' => sub { "DO \$do\$ BEGIN EXECUTE \$sql\$SELECT $_[0]\$sql\$; END \$do\$;" },
	'an exception block' => sub {
		"DO \$do\$ BEGIN PERFORM $_[0]; EXCEPTION WHEN OTHERS THEN RAISE; END \$do\$;";
	},
	'a function in PL/pgSQL' => sub {
		"CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM $_[0]; END \$f\$;\n"
		  . "SELECT pg_temp.f();";
	},
	'a function in SQL' => sub {
		"CREATE FUNCTION pg_temp.g() RETURNS void LANGUAGE sql AS \$f\$ SELECT $_[0] \$f\$;\nSELECT pg_temp.g();";
	},
	'a prepared statement' => sub { "PREPARE p AS SELECT $_[0];\nEXECUTE p;" });

my $unusable = "EAA not usable $secret";
my @calls = (
	[ "capi.create_dataset('NAME', '1', access_token => '$secret', app_secret => '$secret')", undef ],
	[ "capi.create_dataset('main', '1', access_token => '$secret')", 'already exists' ],
	[ "capi.create_dataset('other', 'x', access_token => '$secret')", 'invalid dataset id' ],
	[ "capi.create_dataset('other', '1', access_token => '$unusable')", 'invalid access token' ],
	[ "capi.create_dataset('other', '1', app_secret => '$unusable')", 'invalid app secret' ],
	[ "capi.create_dataset('other', '1', access_token => '$secret', endpoint => 'ftp://x')", 'invalid endpoint' ],
	[ "capi.create_dataset('other', '1', access_token => '$secret', access_token_file => '/x')", 'exclude each other' ],
	[ "capi.create_dataset('other', '1', app_secret => '$secret', access_token_file => '/x')",
		'permission denied to name a file' ],
	[ "capi.alter_dataset('main', access_token => '$secret', app_secret => '$secret')", undef ],
	[ "capi.alter_dataset('nowhere', access_token => '$secret')", 'does not exist' ],
	[ "capi.alter_dataset('main', access_token => '$unusable')", 'invalid access token' ],
	[ "capi.alter_dataset('main', access_token => '$secret', api_version => 'x')", 'invalid api_version' ],
	[ "capi.set_access_token('main', '$secret')", undef ],
	[ "capi.set_access_token('nowhere', '$secret')", 'does not exist' ],
	[ "capi.set_access_token('main', '$unusable')", 'invalid access token' ],
	[ "capi.set_access_token(NULL, '$secret')", 'does not exist' ],
	[ "capi.set_stats_token('main', '$secret')", undef ],
	[ "capi.set_stats_token('nowhere', '$secret')", 'does not exist' ],
	[ "capi.set_stats_token('main', '$unusable')", 'invalid access token' ]);

# The log of one call, which must have happened.
sub log_of
{
	my ($sql, $wanted, $what) = @_;
	my $at = $node->log_size;
	my ($code, $out, $err) =
	  $node->psql($node->database, $sql, on_error_stop => 0, extra_params => [ '-U', 'admin' ]);
	my $log;

	like($err, defined $wanted ? qr/ERROR: .*$wanted/ : qr/WARNING: .*stored unencrypted/, "$what: as it should");
	if (!defined $wanted)
	{
		unlike($err, qr/ERROR/, "$what: no error");
	}
	$log = $node->log_since($at);
	like($log, defined $wanted ? qr/ERROR: .*$wanted/ : qr/WARNING: .*stored unencrypted/, "$what: logged");
	return $log;
}

my $number = 0;

$node->sql("SELECT capi.create_dataset('main', '1')", 'admin');
foreach my $how (sort keys %from)
{
	foreach my $call (@calls)
	{
		my ($sql, $wanted) = @$call;
		my $what = "$how, " . ($sql =~ /capi\.(\w+)/)[0] . ', ' . ($wanted // 'success');
		my $log;

		$number++;
		$sql =~ s/NAME/new$number/;
		$log = log_of($from{$how}->($sql), $wanted, $what);
		unlike($log, qr/\Q$secret\E/, "$what: no secret in the log");
		unlike($log, qr/ (CONTEXT|STATEMENT): /, "$what: no context, no statement");
	}
}

# --- a key file that cannot be used ----------------------------------------------------

$node->change('capi.key_file' => '/nowhere/key');
$node->wait_for("SELECT current_setting('capi.key_file') = '/nowhere/key'", 'the key file is set');
foreach my $how (sort keys %from)
{
	my $log = log_of($from{$how}->("capi.set_access_token('main', '$secret')"), 'could not use the file', "$how, no key");

	unlike($log, qr/\Q$secret\E| (CONTEXT|STATEMENT): /, "$how, no key: nothing in the log");
}
$node->change('capi.key_file' => '');
$node->wait_for("SELECT current_setting('capi.key_file') = ''", 'the key file is not set');

# --- values of parameters, if a server logs them with errors ------------------------------

my $at = $node->log_size;
my $script = $node->basedir . '/bound.sql';
append_to_file($script, "SELECT capi.set_access_token('main', :token);\n");
foreach my $token ($secret, $unusable)
{
	my $log;

	local $ENV{PGOPTIONS} = '-c log_parameter_max_length_on_error=-1';
	run_log([ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-f', $script, '-D', "token=$token",
		$node->connstr($node->database) ]);
	$log = $node->log_since($at);
	like($log, $token eq $secret ? qr/stored unencrypted/ : qr/invalid access token/, 'a bound token: the message is there');
	unlike($log, qr/\Q$secret\E/, 'a bound token is in no log');
}

# --- plans of our own statements, where auto_explain logs nested ones ---------------------

$at = $node->log_size;
$node->sql("CREATE TABLE given AS SELECT '$secret'::text AS token");
$node->sql("SET client_min_messages = error; LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;"
	  . ' SET auto_explain.log_nested_statements = on; SET auto_explain.log_verbose = on; SET auto_explain.log_analyze = on;'
	  . " SELECT $_ FROM given") foreach "capi.create_dataset('explained', '1', access_token => token, app_secret => token)",
	"capi.alter_dataset('explained', access_token => token, app_secret => token)", "capi.set_access_token('explained', token)",
	"capi.set_stats_token('explained', token)", "capi.pause_dataset('explained')";
like($node->log_since($at), qr/Query Text: (UPDATE|INSERT)/, 'a plan of a statement of ours is in the log');
unlike($node->log_since($at), qr/\Q$secret\E|${\unpack('H*', $secret)}/i, 'none that has a secret');

done_testing();
