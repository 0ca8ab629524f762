# Nobody's settings change what is sent: not those of a database, which its owner
# may set, nor those of a role, nor those of a session that delivers.
use strict;
use warnings;

use JSON::PP;
use Test::More;

use lib 'test/perl';
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create(
	'main',
	sandbox => $sandbox,
	conf => "capi.poll_interval = '100ms'");
$node->install_capi;

# An event that shows how values are written and what literals mean.
my $query = q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency,
       o.email AS em, o.paid_at::date AS db, 'https://shop.example/' AS event_source_url,
       'test agent' AS client_user_agent,
       jsonb_build_object(
           'backslash', 'a\b', 'third', (o.total::float8 / 3)::text,
           'day', o.paid_at::date::text, 'bytes', '\x00ff'::bytea::text,
           'span', interval '1 year 2 days 3 hours'::text, 'nulls', '{NULL,1}'::text[] IS DISTINCT FROM NULL,
           'first_null', ('{NULL,1}'::text[])[1] IS NULL, 'is_null', (NULL = o.id) IS NULL,
           'rows', (SELECT count(*) FROM generate_series(1, 3))) AS custom_data
  FROM shop.orders o};
$node->attach(query => $query);
# one moment for all, so that events differ in nothing but the id
my $paid_at = $node->sql("SELECT date_trunc('hour', now() - interval '1 hour')");
my $options = '';
my $payer = 'shop_app';

# --- how a test looks at a database with hostile settings --------------------

sub pay_one
{
	local $ENV{PGOPTIONS} = $options;
	return $node->sql(qq{
INSERT INTO shop.orders (status, total, email, paid_at)
VALUES ('paid', 12.34, 'customer\@example.com', '$paid_at') RETURNING id}, $payer);
}

sub event_of
{
	my ($id) = @_;
	my ($row) = grep { $_->{event_id} eq $id } $sandbox->events(dataset => $node->dataset_id);

	return 'not there' unless $row;
	delete $row->{event}{$_} foreach qw(event_id);
	return JSON::PP->new->canonical->encode($row->{event});
}

sub delivers
{
	my ($name) = @_;
	my $id = pay_one();

	local $ENV{PGOPTIONS} = $options;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE order_key = '$id' AND status = 'delivered'", 20);
	return is(event_of($id), $main::expected, $name);
}

# By the owner of the database or, what he may not set, by a superuser.
sub set_all
{
	my ($what, $settings, $role) = @_;
	my @set;

	local $ENV{PGOPTIONS} = $options;
	foreach my $name (sort keys %$settings)
	{
		my $value = $settings->{$name} =~ s/'/''/gr;
		my $refused = $node->refuses("ALTER $what SET $name = '$value'", $role);

		# a few belong to a transaction, or cannot be set for later
		push @set, $name unless defined $refused;
		diag("$name: $refused") if defined $refused && $refused !~ /cannot be (changed|set)|invalid value|unrecognized/;
	}
	return @set;
}

# Another dispatcher than there was, if any: it may be about to begin anew by itself.
sub restart_dispatcher
{
	my $since = $node->safe_psql('postgres', q{
SELECT now() FROM (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE backend_type = 'capi dispatcher') t});

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'"
		  . " AND backend_start > '$since'") or die 'no dispatcher runs';
	return $node->dispatcher_pid;
}

sub reset_all
{
	local $ENV{PGOPTIONS} = $options;
	$node->sql('ALTER DATABASE shop RESET ALL');
	$node->sql('ALTER ROLE postgres RESET ALL');
	$options = '';
	return;
}

our $expected = event_of('');
my $first = pay_one();
$node->wait_until_idle;
$expected = event_of($first);
like($expected, qr/"backslash":"a\\\\b"/, 'the event as it is without anybody\'s settings');

# --- all that the owner of a database may set, at once -----------------------

my $superuser = $node->sql('SELECT rolname FROM pg_roles WHERE oid = 10');
$node->sql('CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler');
$node->sql("SET allow_in_place_tablespaces = on;\nCREATE TABLESPACE elsewhere LOCATION ''");
$node->sql('GRANT CREATE ON TABLESPACE elsewhere TO PUBLIC');
my $settings = decode_json($node->sql(q{
SELECT json_object_agg(name, json_build_object('boot', boot_val, 'value',
       CASE vartype WHEN 'bool' THEN CASE boot_val WHEN 'on' THEN 'off' ELSE 'on' END
                    WHEN 'enum' THEN coalesce((SELECT e FROM unnest(enumvals) WITH ORDINALITY u (e, n)
                                                WHERE e <> boot_val ORDER BY n LIMIT 1), boot_val)
                    ELSE CASE WHEN min_val::float8 <= 0 AND boot_val::float8 <> 1 THEN '1'
                              WHEN min_val <> boot_val THEN min_val ELSE max_val END
       END))
  FROM pg_settings
 WHERE context = 'user' AND vartype <> 'string' AND name NOT LIKE 'capi.%'
   AND name NOT LIKE 'transaction\_%'}));
my %hostile = map { $_ => $settings->{$_}{value} } keys %$settings;
my %default = map { $_ => $settings->{$_}{boot} } keys %$settings;
my %strings = (
	client_encoding => 'LATIN1',
	DateStyle => 'German, DMY',
	default_table_access_method => 'other_heap',
	default_tablespace => 'elsewhere',
	default_text_search_config => 'simple',
	lc_monetary => 'C',
	lc_numeric => 'C',
	lc_time => 'C',
	local_preload_libraries => 'no_such_library',
	restrict_nonsystem_relation_kind => 'view, foreign-table',
	search_path => 'shop',
	temp_tablespaces => 'elsewhere',
	timezone_abbreviations => 'India',
	application_name => 'nobody');
# the worst of what the loop above would choose kindly
$hostile{default_transaction_isolation} = 'serializable';
$hostile{backslash_quote} = 'off';
$hostile{client_min_messages} = 'debug5';
$options = join ' ', map { "-c $_=" . $default{$_} =~ s/ /\\ /gr }
  grep { defined $default{$_} && !/^enable_|_cost|^geqo|^vacuum_|^tcp_/ } sort keys %default;
$options .= ' -c datestyle=ISO -c client_encoding=UTF8 -c search_path=public -c default_tablespace= -c local_preload_libraries= -c restrict_nonsystem_relation_kind=';
my $pid = $node->dispatcher_pid;
my $log = $node->log_size;
my @set = set_all('DATABASE shop', { %hostile, %strings }, 'shop_owner');
cmp_ok(scalar @set, '>', 100, 'the owner of a database may set ' . @set . ' settings');
$pid = restart_dispatcher();
delivers('P9: all of them at once change nothing');
{
	# work that makes tables
	local $ENV{PGOPTIONS} = $options;
	$node->sql("DO \$\$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid FROM pg_inherits"
		  . " WHERE inhparent = 'capi.request'::regclass LOOP EXECUTE format('DROP TABLE %s', p); END LOOP; END \$\$");
	$pid = restart_dispatcher();
	delivers('P9: nor how partitions are made');
	is($node->sql("SELECT count(*) FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam"
		  . " WHERE a.amname = 'other_heap' OR c.reltablespace IN"
		  . " (SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere')"),
		0, 'which are made as the others are');
	is($node->dispatcher_pid, $pid, 'P12: by one dispatcher');
	is($node->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND application_name = 'capi dispatcher'"),
		1, 'whose name is its own');
}
unlike($node->log_since($log), qr/parse tree|plan:|rewritten parse|customer\@example|QUERY STATISTICS|begin tuple sort/,
	'P7: nothing of its statements is logged');
reset_all();

# --- those that need a superuser ---------------------------------------------

my %of_superuser = (
	session_replication_role => 'replica',
	log_statement => 'all',
	log_min_duration_statement => '0',
	log_duration => 'on',
	log_planner_stats => 'on',
	log_executor_stats => 'on',
	event_triggers => 'off',
	default_tablespace => '',
	lc_messages => 'C');
$options = '-c log_statement=none -c log_min_duration_statement=-1 -c session_replication_role=origin'
  . ' -c log_duration=off -c log_planner_stats=off -c log_executor_stats=off';
$log = $node->log_size;
set_all('DATABASE shop', \%of_superuser);
# who may set them back
$payer = undef;
restart_dispatcher();
delivers('P9: those of a superuser change nothing');
unlike($node->log_since($log), qr/dispatcher .*(statistics|duration|statement:)/i,
	'P7: and let nothing of the dispatcher be logged');
$payer = 'shop_app';
reset_all();

# --- one by one: whose rights, what text means, whether it ends ---------------

foreach my $one (
	[ 'DATABASE shop', 'role', 'shop_app' ],
	[ 'DATABASE shop', 'session_authorization', 'shop_app' ],
	[ 'DATABASE shop', 'standard_conforming_strings', 'off' ],
	[ 'DATABASE shop', 'exit_on_error', 'on' ],
	[ 'DATABASE shop', 'default_transaction_read_only', 'on' ],
	[ 'DATABASE shop', 'row_security', 'off' ],
	[ "ROLE $superuser", 'role', 'shop_app' ],
	[ "ROLE $superuser", 'session_authorization', 'shop_app' ],
	[ "ROLE $superuser", 'search_path', 'nowhere' ],
	[ "ROLE $superuser IN DATABASE shop", 'role', 'shop_app' ],
	[ 'ROLE ALL', 'role', 'shop_app' ])
{
	my ($what, $name, $value) = @$one;
	my $owner = $what =~ /^DATABASE/ && $name !~ /^(role|session)/ ? 'shop_owner' : undef;
	my $before = $node->dispatcher_pid;

	$log = $node->log_size;
	$node->safe_psql('postgres', "ALTER $what SET $name = '$value'",
		extra_params => [ $owner ? ('-U', $owner) : () ]);
	$options = "-c role=none -c $name=" . ($name eq 'session_authorization' ? $superuser :
		{ role => 'none', search_path => 'public', standard_conforming_strings => 'on' }->{$name} // 'off');
	$options = '-c role=none' if $name eq 'session_authorization';
	my $after;
	{
		local $ENV{PGOPTIONS} = $what =~ /^DATABASE/ ? '' : $options;

		# it begins anew by itself
		$after = $node->dispatcher_pid($before);
		delivers("P9: ALTER $what SET $name = $value");
		is($node->dispatcher_pid, $after, 'P12: and the dispatcher stays');
		$node->safe_psql('postgres', "ALTER $what RESET $name");
	}
	$options = '';
	$node->dispatcher_pid($after);
}

# a role that nobody may take on, and one that is gone
$node->sql("CREATE ROLE gone; ALTER DATABASE shop SET role = 'gone'");
$node->safe_psql('postgres', 'DROP ROLE gone');
$options = '-c role=none';
restart_dispatcher();
delivers('P9: a role that is gone');
reset_all();

# --- capi's own, for a dispatcher that runs ----------------------------------

$pid = restart_dispatcher();
my @ids = $node->hang(3);
$node->sql('ALTER DATABASE shop SET capi.enabled = off');
# it is noticed at the next look, so one or two more may go
my $waiting;
foreach (1 .. 20)
{
	$waiting = pay_one();
	last unless $node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status"
		  . " WHERE order_key = '$waiting' AND status = 'delivered'", 1);
}
is(event_of($waiting), 'not there', 'ALTER DATABASE SET capi.enabled = off takes effect');
is($node->dispatcher_pid, $pid, 'P5: what is under way is waited for');
$sandbox->release;
my $next = $node->dispatcher_pid($pid);
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered'"
	  . " AND order_key IN (" . join(', ', map { "'$_'" } @ids) . ')'),
	3, 'P5: and recorded');
is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$waiting'"),
	'queued', 'orders wait');
$node->sql('ALTER DATABASE shop RESET capi.enabled');
$node->dispatcher_pid($next);
ok($node->wait_until_idle, 'and go when it is on again');
is(event_of($waiting), $expected, 'as they would have gone');
is($node->repeats, 0, 'P5: nothing was sent twice');

# --- a session that delivers, and functions it calls -------------------------

$node->change('capi.databases' => '');
$node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'");
my @names = grep { !/^(statement_timeout|lock_timeout|transaction_timeout|idle_.*|exit_on_error|default_transaction_read_only|client_min_messages|debug_print_.*|default_transaction_deferrable|default_transaction_isolation)$/ }
  sort keys %hostile;
my $session = $node->session;
$session->sql("SET $_ = '$hostile{$_}'") foreach @names;
$session->sql("SET $_ = '$strings{$_}'") foreach qw(DateStyle default_table_access_method search_path);
$session->sql('SET row_security = off; SET session_replication_role = replica');
$session->sql('SET debug_print_parse = on; SET debug_print_plan = on; SET debug_print_rewritten = on');
$log = $node->log_size;
my $id = pay_one();
is($session->sql('CALL capi.deliver()'), '', 'a session with all of them delivers');
is(event_of($id), $expected, 'P9: the same');
unlike($node->log_since($log), qr/shop\.orders|customer\@example/, 'P7: nothing of the orders is logged');
is($session->sql('SHOW standard_conforming_strings'), 'off', 'and keeps its settings');
is($session->sql(q{
SELECT p.outcome, p.event -> 'custom_data' ->> 'backslash' FROM capi.preview('paid_orders', '} . $id . q{') p}),
	'delivered|a\\b', 'a preview means the same');
$session->quit;

$node->stop;
done_testing();
