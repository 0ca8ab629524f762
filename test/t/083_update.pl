# P3 and P12: ALTER EXTENSION capi UPDATE.  It ends where a new installation begins,
# what 0.1.0 had goes on, and until then the new library captures and sends nothing.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop, updated, fresh');
my $updated = $node->in_database('updated');
my $fresh = $node->in_database('fresh');
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(updated fresh);

# --- the catalogue ---------------------------------------------------------------

# One line for each thing that the extension made, without numbers of objects.
my $catalogue = q{
WITH member AS (
    SELECT d.classid, d.objid, (pg_identify_object(d.classid, d.objid, 0)).identity AS name
      FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE e.extname = 'capi' AND d.deptype = 'e'),
acls AS (
    SELECT m.name, coalesce(c.relacl, p.proacl, n.nspacl, t.typacl, acldefault('f', p.proowner)) AS acl
      FROM member m LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
      LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
      LEFT JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
      LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid)
SELECT line FROM (
    SELECT format('member %s %s: %s', m.classid::regclass, m.name, obj_description(m.objid, m.classid::regclass::text)) FROM member m
    UNION ALL
    SELECT format('acl %s: %s', name, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM aclexplode(acl) a WHERE a.grantee <> a.grantor)) FROM acls
    UNION ALL
    SELECT format('relation %s %s %s %s %s %s', m.name, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.reloptions)
      FROM member m JOIN pg_class c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
    UNION ALL
    SELECT format('column %s %s %s %s %s %s %s %s %s %s', m.name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  a.attisdropped, a.attstorage, a.attcollation, pg_get_expr(d.adbin, d.adrelid), col_description(m.objid, a.attnum))
      FROM member m JOIN pg_attribute a ON a.attrelid = m.objid AND m.classid = 'pg_class'::regclass AND a.attnum > 0
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT format('constraint %s %s %s', m.name, c.conname, pg_get_constraintdef(c.oid))
      FROM member m JOIN pg_constraint c ON c.conrelid = m.objid AND m.classid = 'pg_class'::regclass
    UNION ALL
    SELECT format('index %s', pg_get_indexdef(i.indexrelid))
      FROM member m JOIN pg_index i ON i.indrelid = m.objid AND m.classid = 'pg_class'::regclass
    UNION ALL
    SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled)
      FROM member m JOIN pg_trigger t ON t.tgrelid = m.objid AND m.classid = 'pg_class'::regclass AND NOT t.tgisinternal
    UNION ALL
    SELECT format('policy %s %s', m.name, p.polname) FROM member m JOIN pg_policy p ON p.polrelid = m.objid
    UNION ALL
    SELECT format('function %s', pg_get_functiondef(p.oid))
      FROM member m JOIN pg_proc p ON p.oid = m.objid AND m.classid = 'pg_proc'::regclass AND p.prokind <> 'a'
    UNION ALL
    SELECT format('view %s %s', m.name, pg_get_viewdef(c.oid))
      FROM member m JOIN pg_class c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass AND c.relkind = 'v'
    UNION ALL
    SELECT format('type %s %s %s %s', m.name, t.typinput, t.typoutput, t.typlen)
      FROM member m JOIN pg_type t ON t.oid = m.objid AND m.classid = 'pg_type'::regclass
    UNION ALL
    SELECT format('dumped %s %s', c.rel::regclass, c.condition)
      FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS c (rel, condition) WHERE e.extname = 'capi'
    UNION ALL
    SELECT format('version %s', e.extversion) FROM pg_extension e WHERE e.extname = 'capi'
) AS l (line) ORDER BY line COLLATE "C"};

# Lines of the second that the first has not.
sub missing
{
	my ($in, $of) = @_;
	my %has = map { $_ => 1 } split /\n(?=[a-z]+ )/, $in;

	return join "\n", grep { !$has{$_} } split /\n(?=[a-z]+ )/, $of;
}

$fresh->sql('CREATE EXTENSION capi');
$updated->sql("CREATE EXTENSION capi VERSION '0.1.0'");
is($updated->refuses('ALTER EXTENSION capi UPDATE') // '', '', 'it can be updated from 0.1.0');
my ($new, $was) = map { $_->sql($catalogue) } $fresh, $updated;
is(missing($was, $new), '', 'the update makes all that a new installation has');
is(missing($new, $was), '', 'and leaves nothing else');

# --- a shop that goes on ---------------------------------------------------------

my $log = $node->log_size;
$node->sql("CREATE EXTENSION capi VERSION '0.1.0'");
$node->sql("SELECT capi.grant_access('shop_owner', 'admin'); CREATE ROLE looks LOGIN; SELECT capi.grant_access('looks', 'reader');"
	  . ' CREATE ROLE one; GRANT SELECT ON capi.request_log TO one; GRANT EXECUTE ON FUNCTION capi.diagnose(), capi.set_context(text, jsonb, text) TO one');
$node->create_dataset;
$node->attach;
my ($delivered, $waiting, @queued) = $node->place_orders(4);
$node->sql("INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key)"
	  . " SELECT now(), now(), id, dataset_id, 1, 'delivered', '$delivered' FROM capi.source");
$node->sql("INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)"
	  . " SELECT id, '$waiting', dataset_id, 'queued', now(), now() FROM capi.source");
$node->pay($delivered, $waiting, @queued);
is($node->sql("SELECT status, count(*) FROM capi.delivery_status GROUP BY 1 ORDER BY 1"), "delivered|1\nqueued|3",
	'P3: with the new library orders are captured as before');
is($node->sql('SELECT missed FROM capi._slot()'), 0, 'and none is missed');
$node->dispatcher_pid;
ok($node->poll_query_until('postgres', "SELECT pg_read_file('" . $node->logfile . "', $log, 10000000) ~ 'nothing is sent: the extension capi in this database is 0.1.0'"),
	'the dispatcher says that it waits for the update');
is($sandbox->stats->{requests}, 0, 'and sends nothing');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'version' AND NOT ok}), qr/ALTER EXTENSION capi UPDATE/,
	'as diagnose() does');
unlike($node->log_since($log), qr/ERROR|terminated/, 'without an error');

$node->sql('ALTER EXTENSION capi UPDATE');
$node->wait_until_idle;
is(join(' ', sort { $a <=> $b } map { $_->{event_id} } $sandbox->events(dataset => $node->dataset_id)), join(' ', $waiting, @queued),
	'P3 P5: once updated it sends what waited, and nothing that was delivered');
$node->pay($node->place_orders(2));
$node->wait_until_idle;
is(scalar $sandbox->events(dataset => $node->dataset_id), 5, 'and goes on');
is($node->sql("SELECT source, table_name, state FROM capi.source_status", 'looks'), 'paid_orders|shop.orders|active',
	'who had a duty has it, on what is new too');
is($node->sql("SELECT string_agg(format('%s %s', has_table_privilege('one', v, 'SELECT'), v), ', ') FROM unnest('{capi.request_log,capi.health}'::text[]) v"),
	't capi.request_log, f capi.health', 'and who had one right has that one');
is($node->sql("SELECT has_function_privilege('one', 'capi.diagnose()', 'EXECUTE'), has_function_privilege('one', 'capi.send(text, jsonb, text)', 'EXECUTE')"),
	't|f', 'P9: one function of a duty is not made the whole of it');
$node->attach(source => 'again');
is($node->sql("SELECT count(*) FROM capi.source_status WHERE state = 'active'"), 2, 'an admin is still one');

done_testing();
