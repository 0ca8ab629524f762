# P10: whatever happened to a shop and its orders, orders = delivered + waiting +
# ignored + rejected + expired + missing, and each of these is what an
# independent count of all rows says, for any window, length of time and zone.
#
# Random histories: CAPI_HISTORIES of them (500, say), or as many as fit into
# CAPI_HISTORY_SECONDS (60).  CAPI_SEED repeats a run; the seed is printed.
# slow
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $seed = $ENV{CAPI_SEED} // int(time * 1000) % 1_000_000_000;
my $wanted = $ENV{CAPI_HISTORIES};
my $seconds = $ENV{CAPI_HISTORY_SECONDS} // 60;
my @zones = qw(UTC Europe/Berlin America/New_York Asia/Kolkata Pacific/Auckland);
my @lengths = (
	[ '1 hour', 'hour' ], [ '1 day', 'day' ], [ '1 day', 'day' ],
	[ '1 week', 'week' ], [ '1 month', 'month' ]);

note("seed $seed: CAPI_SEED=$seed repeats this run");

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0);
my $number = 0;    # of the history
my $next_id;       # of its next order
my @ids;
my $trigger_on;
my $attached;
my $end = time + $seconds;

$node->install_capi;
$node->sql(q{
CREATE SCHEMA h;
-- outcomes of long ago have a partition to be in
SELECT capi._add_partition('delivery', l - interval '130 days', l)
  FROM (SELECT min(capi._bound(inhrelid, 1)) AS l FROM pg_inherits WHERE inhparent = 'capi.delivery'::regclass) p;

-- What reconcile() is to say, counted from all orders and all records.
CREATE FUNCTION h.count_all(src text, since timestamptz, until timestamptz, unit text)
    RETURNS TABLE (bucket timestamptz, currency text, orders bigint, delivered bigint, waiting bigint, ignored bigint,
                   rejected bigint, expired bigint, missing bigint, order_value numeric, delivered_value numeric)
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        WITH o AS (SELECT q.key::text AS key, min(q.event_time) AS at, min(q.value) AS value, min(q.currency) AS currency FROM (%s) q GROUP BY 1),
             s AS (SELECT * FROM capi.delivery_status WHERE source = %L),
             j AS (SELECT coalesce(o.at, s.event_time, s.captured_at) AS at,
                          CASE WHEN o.key IS NULL THEN s.currency ELSE o.currency END AS currency, o.value,
                          coalesce(s.status, 'missing') AS status,
                          CASE WHEN s.status = 'delivered' THEN s.value END AS sent, s.currency AS sent_currency
                     FROM o FULL JOIN s ON s.order_key = o.key),
             w AS (SELECT date_trunc(%L, at) AS bucket, * FROM j WHERE at >= %L AND at < %L),
             m AS (SELECT bucket, currency, status, 1 AS n, value, CASE WHEN sent_currency = currency THEN sent END AS sent FROM w
                   UNION ALL
                   SELECT bucket, sent_currency, NULL, 0, NULL, sent FROM w WHERE sent IS NOT NULL AND sent_currency IS DISTINCT FROM currency)
        SELECT bucket, currency::text, sum(n), count(*) FILTER (WHERE status = 'delivered'),
               count(*) FILTER (WHERE status IN ('queued', 'held', 'retrying')), count(*) FILTER (WHERE status = 'ignored'),
               count(*) FILTER (WHERE status = 'rejected'), count(*) FILTER (WHERE status = 'expired'),
               count(*) FILTER (WHERE status = 'missing'), coalesce(sum(value), 0), coalesce(sum(sent), 0)
          FROM m GROUP BY 1, 2$q$,
        (SELECT s.query FROM capi.source s WHERE s.name = src), src, unit, since, until);
END $$;

-- Rows in which the two differ, and rows that do not add up.
CREATE FUNCTION h.differences(src text, since timestamptz, until timestamptz, len interval, unit text)
    RETURNS SETOF text LANGUAGE sql AS $$
    WITH got AS (SELECT * FROM capi.reconcile(src, since, until, len)),
         want AS (SELECT * FROM h.count_all(src, since, until, unit)),
         lost AS (SELECT * FROM capi.missing_orders(src, since, until)),
         other AS (SELECT * FROM capi.drift(src, since, until))
    SELECT 'counted: ' || x::text FROM (SELECT * FROM got EXCEPT SELECT * FROM want) x
    UNION ALL
    SELECT 'expected: ' || x::text FROM (SELECT * FROM want EXCEPT SELECT * FROM got) x
    UNION ALL
    SELECT 'no sum: ' || g::text FROM got g WHERE orders <> delivered + waiting + ignored + rejected + expired + missing
    UNION ALL
    SELECT format('%s missing orders, but %s are counted', (SELECT count(*) FROM lost), sum(missing))
      FROM got HAVING coalesce(sum(missing), 0) <> (SELECT count(*) FROM lost)
    UNION ALL
    SELECT format('value: %s today, %s sent, drift explains %s', sum(order_value), sum(delivered_value), (SELECT sum(coalesce(current_value, 0) - coalesce(sent_value, 0)) FROM other))
      FROM got WHERE currency = 'EUR' GROUP BY currency
    HAVING sum(waiting + ignored + rejected + expired + missing) = 0 AND NOT EXISTS (SELECT FROM other WHERE sent_currency IS DISTINCT FROM current_currency)
       AND sum(order_value) - sum(delivered_value) <> coalesce((SELECT sum(current_value - sent_value) FROM other WHERE sent_currency = 'EUR'), 0)
$$});

my $session = $node->session;

sub any { return $_[ int rand @_ ] }
sub src { return "h$number" }

sub run_sql
{
	my ($sql) = @_;

	push our(@told), $sql;
	# an error is an answer, too: a source may be broken, a copy not send
	return eval { $session->sql($sql) } // "error: $@";
}

# --- what may happen ----------------------------------------------------------

sub ask_window
{
	my $since = sprintf("now() - interval '%d minutes'", any(30, 1000, 5000, 10000, 14400, 100000) + int rand 700);
	my $until = any('now()', "'infinity'", sprintf("now() - interval '%d minutes'", int rand 9000));

	return ($since, "greatest($since, $until)");
}

sub check
{
	my ($since, $until) = ask_window();
	my $length = any(@lengths);
	my $zone = any(@zones);

	return run_sql("SET timezone = '$zone'; SELECT string_agg(d, E'\\n') FROM h.differences('"
		  . src() . "', $since, $until, '$length->[0]', '$length->[1]') d");
}

sub query
{
	my ($where) = @_;

	return sprintf(
		q{SELECT id AS key, event_time, value, currency, email AS em, note AS ignore_reason, 'agent' AS client_user_agent,}
		  . q{ 'https://shop.example/' AS event_source_url FROM h.orders%d %s}, $number, $where);
}

sub attach
{
	run_sql("SELECT capi.attach('" . src() . "', 'h.orders$number', 'main', on_column => 'status', on_values => '{paid}',"
		  . " query => " . CapiTest::Node::_literal(query('')) . ')');
	$attached = $trigger_on = 1;
	return;
}

sub place
{
	my $n = 1 + int rand 6;
	my @rows;

	foreach (1 .. $n)
	{
		my $id = $next_id++;

		push @ids, $id;
		push @rows, sprintf(
			"(%d, '%s', now() - interval '%d seconds' - interval '%d microseconds', %s, %s, %s, %s)",
			$id, any(qw(paid paid paid pending)), any(-80000, 0, 600, 3600, 86400, 500_000, 700_000) + int rand 40000,
			int rand 1_000_000, any(1 .. 50) + any(0, 0.5), any("'EUR'", "'EUR'", "'EUR'", "'JPY'", "'USD'", 'NULL'),
			any("'a\@example.com'", "'a\@example.com'", "'a\@example.com'", 'NULL'),
			any('NULL', 'NULL', 'NULL', "'test order'"));
	}
	my $insert = "INSERT INTO h.orders$number VALUES " . join(', ', @rows);

	run_sql(any($insert, $insert, $insert, "BEGIN; $insert; ROLLBACK",
			"BEGIN; SAVEPOINT s; $insert; ROLLBACK TO s; COMMIT"));
	return;
}

my %events = (
	place => \&place,
	place_more => \&place,
	pay => sub { run_sql("UPDATE h.orders$number SET status = 'paid' WHERE id % 3 = " . int rand 3) },
	ship => sub { run_sql("UPDATE h.orders$number SET status = 'shipped' WHERE id % 4 = " . int rand 4) },
	edit => sub { run_sql("UPDATE h.orders$number SET value = value + 1, currency = '" . any(qw(EUR USD)) . "' WHERE id % 5 = " . int rand 5) },
	move => sub { run_sql("UPDATE h.orders$number SET event_time = event_time - interval '" . any('1 hour', '3 days', '-1 day') . "' WHERE id % 5 = " . int rand 5) },
	no_time => sub { run_sql("UPDATE h.orders$number SET event_time = NULL WHERE id % 7 = " . int rand 7) },
	cancel => sub { run_sql("UPDATE h.orders$number SET note = 'cancelled' WHERE id % 5 = " . int rand 5) },
	reopen => sub { run_sql("UPDATE h.orders$number SET note = NULL, status = 'pending' WHERE id % 4 = " . int rand 4) },
	remove => sub { run_sql("DELETE FROM h.orders$number WHERE id % 6 = " . int rand 6) },
	trigger => sub {
		return unless $attached;
		$trigger_on = !$trigger_on;
		run_sql("DO \$\$ BEGIN EXECUTE 'ALTER TABLE h.orders$number " . ($trigger_on ? 'ENABLE' : 'DISABLE') . " TRIGGER capi_capture'; EXCEPTION WHEN undefined_object THEN NULL; END \$\$");
	},
	rule => sub { run_sql("SELECT capi.alter_source('" . src() . "', on_column => 'status', on_values => '" . any('{paid}', '{paid,shipped}', '{pending}') . "')") },
	query => sub { run_sql("SELECT capi.alter_source('" . src() . "', query => " . CapiTest::Node::_literal(query(any('', '', "WHERE status <> 'pending'", 'WHERE id % 9 <> 1'))) . ')') },
	hold => sub { run_sql("SELECT capi.alter_source('" . src() . "', hold => '" . any(0, '1 hour') . "')") },
	pause => sub { run_sql("SELECT capi." . any(qw(pause resume resume)) . "('" . src() . "')") },
	swap => sub {
		# a migration by exchange: the new table has no trigger until it is attached
		run_sql("ALTER TABLE h.orders$number RENAME TO old$number; CREATE TABLE h.orders$number (LIKE h.old$number INCLUDING ALL);"
			  . " INSERT INTO h.orders$number SELECT * FROM h.old$number;"
			  . any('', " SELECT capi.detach('" . src() . "'); SELECT capi.attach('" . src() . "', 'h.orders$number', 'main', on_column => 'status', on_values => '{paid}', query => " . CapiTest::Node::_literal(query('')) . ');')
			  . " ALTER TABLE h.old$number SET SCHEMA public; ALTER TABLE public.old$number RENAME TO old_${number}_" . scalar(@ids) . '_' . int rand 1_000_000);
	},
	restore => sub { run_sql("DELETE FROM capi.delivery d USING capi.source s WHERE s.name = '" . src() . "' AND d.source_id = s.id AND hashtext(d.key) % 3 = 0") },
	copy => sub { run_sql("UPDATE capi.state SET database_oid = 1") },
	confirm => sub { run_sql("SELECT capi.confirm_identity()") },
	deliver => sub { run_sql("CALL capi.deliver(max_time => '20 seconds')") },
	deliver_again => sub { run_sql("CALL capi.deliver(max_time => '20 seconds')") },
	redrive => sub { run_sql("SELECT capi.redrive('" . src() . "', '" . any(qw(rejected expired ignored)) . "'" . any('', ", order_key => '" . any(@ids ? @ids : 1) . "'") . ')') },
	forget => sub { run_sql("SELECT capi.forget('" . any(@ids ? @ids : 1) . "', " . any('NULL', "'" . src() . "'") . ')') },
	backfill => sub { run_sql("SET client_min_messages = warning; CALL capi.backfill('" . src() . "', now() - interval '9 days')") },
	retention => sub { run_sql("UPDATE capi.delivery d SET finished_at = now() - interval '100 days', captured_at = now() - interval '100 days' FROM capi.source s WHERE s.name = '" . src() . "' AND d.source_id = s.id AND hashtext(d.key) % 4 = 0;"
			  . any('', "DELETE FROM capi.delivery WHERE finished_at < now() - interval '90 days'")) },
);
my @names = sort keys %events;

# --- histories ---------------------------------------------------------------

sub live
{
	our @told = ();
	my $steps = 10 + int rand 25;

	$number++;
	$next_id = 1;
	@ids = ();
	run_sql("CREATE TABLE h.orders$number (id int PRIMARY KEY, status text, event_time timestamptz, value numeric, currency text, email text, note text);"
		  . " CREATE INDEX ON h.orders$number (event_time)");
	attach();
	place() if rand() < 0.9;
	foreach my $step (1 .. $steps)
	{
		my $differences;

		$events{ any(@names) }->();
		next unless $step == $steps || rand() < 0.4;
		$differences = check();
		return $differences if $differences ne '';
	}
	run_sql("SELECT capi.confirm_identity(); SELECT capi.detach('" . src() . "'); DROP TABLE h.orders$number");
	return '';
}

while ($wanted ? $number < $wanted : time < $end)
{
	my $differences;

	# each can be repeated by itself
	srand($seed + $number);
	$differences = live();
	next if $differences eq '';
	fail('P10: orders are the sum of what became of them (CAPI_HISTORIES=1 CAPI_SEED=' . ($seed + $number - 1) . ')');
	diag($differences);
	diag("$_;") foreach our @told;
	last;
}
pass("P10: $number histories, each order in one class") if Test::More->builder->is_passing;
$session->quit;
done_testing();
