# A newcomer makes each of the usual mistakes; SELECT * FROM capi.diagnose() tells
# what came of it, and why.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;

my $QUERY = q{SELECT o.id AS key, %s AS event_time, o.total AS value, o.currency, o.email AS em, o.phone AS ph,
  'https://shop.example/' AS event_source_url, 'test agent' AS client_user_agent FROM shop.orders o};
$node->sql('ALTER TABLE shop.orders ADD COLUMN phone text');

sub query_of { return sprintf $QUERY, $_[0] // 'o.paid_at' }

sub attach_with
{
	my (%arguments) = @_;
	my $query = $arguments{query} // query_of();
	my $on = $arguments{on} // q{on_column => 'status', on_values => '{paid}'};

	return $node->sql("SELECT capi.attach('web', 'shop.orders', 'main', $on, query => \$q\$$query\$q\$)", 'shop_owner');
}

# The whole answer, but for what is well.
sub told { return $node->sql(q{SELECT "check" || '|' || detail || '|' || coalesce(hint, '-') FROM capi.diagnose() WHERE NOT ok}) }

sub is_told
{
	my ($check, $pattern, $name) = @_;

	ok($node->wait_for(qq{SELECT EXISTS (SELECT FROM capi.diagnose() WHERE NOT ok AND "check" = '$check')}), $name);
	like(told(), $pattern, "$name: with the reason");
	return;
}

# The next mistake meets a shop without a past.
sub forget
{
	$node->sql(q{SELECT capi.detach('web')});
	$node->wait_until_idle;
	$node->sql('TRUNCATE capi.delivery, capi.backlog');
	return;
}

sub paid { my @ids = $node->place_orders(@_); $node->pay(@ids); return @ids }

# --- all is well ---------------------------------------------------------------

attach_with();
paid(3);
$node->wait_until_idle;
is(told(), '', 'a shop that works: nothing is told');

# --- paused, and events wait ---------------------------------------------------

$node->sql(q{SELECT capi.pause('web')});
is(told(), '', 'paused, and nothing waits');
paid(4);
is_told('paused', qr/^paused\|Paused, and events wait: web \(4\)\.\|SELECT capi\.resume\('web'\);/m, 'paused with four waiting');
$node->sql(q{SELECT capi.resume('web')});
$node->wait_until_idle;
is(told(), '', 'resumed');
forget();

# --- every order is rejected: the zone was left out ----------------------------

attach_with(query => query_of(q{(o.paid_at AT TIME ZONE 'UTC' + interval '2 hours') AT TIME ZONE 'UTC'}));
paid(3);
is_told('outcomes', qr/Most of the last hour: source web, 3 of 3 rejected, in_the_future\.\|A time zone is missing or wrong/,
	'every order in the future');
forget();

# --- every order makes the query fail ------------------------------------------

$node->sql(q{CREATE FUNCTION shop.local(timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS
  $$ SELECT $1 AT TIME ZONE 'UTC' AT TIME ZONE concat('Europe/', 'Wien') $$});
attach_with(query => query_of('shop.local(o.paid_at)'));
paid(3);
is_told('outcomes', qr/3 of 3 retrying, the query failed with SQLSTATE 22023\.\|A value that a function does not take, for example an unknown time zone/,
	'a zone that a function hides');
forget();

# --- a permission, which is lacking later: attach() itself reads an order -----------

$node->sql(q{CREATE FUNCTION shop.secret(bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN NULL; END $$});
attach_with(query => query_of() =~ s/o\.phone AS ph/shop.secret(o.id) AS ph/r);
$node->sql(q{CREATE OR REPLACE FUNCTION shop.secret(bigint) RETURNS text LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN (SELECT rolpassword FROM pg_authid LIMIT 1); END $$});
paid(2);
is_told('outcomes', qr/2 of 2 retrying, the query failed with SQLSTATE 42501\.\|A permission is missing/, 'a permission');
forget();

# --- every order is ignored ----------------------------------------------------

attach_with(query => query_of() . q{ WHERE o.status = 'shipped'});
paid(3);
is_told('outcomes', qr/3 of 3 ignored, not returned by the query\.\|The query leaves out what the rule captures/, 'rule and query of different orders');
forget();

# --- nothing is captured -------------------------------------------------------

my @before = $node->place_orders(2);
$node->pay(@before);
attach_with();
$node->sql('UPDATE shop.orders SET total = total + 1 WHERE id IN (' . join(',', @before) . ')', 'shop_app');
is(told(), '', 'orders of before that are touched are none to capture');
my @unseen = $node->place_orders(2);
$node->sql('SET session_replication_role = replica; ' . $node->pay_statement(@unseen));
is_told('rules', qr/^rules\|Nothing is captured, although orders that fit the rule were written since: web \(table shop\.orders\)\.\|.*fire_on_replica.*capi\.missing_orders\('web'\)/m,
	'nothing is captured');
$node->sql(q{CALL capi.backfill('web', now() - interval '1 hour')});
$node->wait_until_idle;
is(told(), '', 'backfilled');
forget();

# --- customers without a telephone number --------------------------------------

attach_with();
$node->sql(q{ALTER TABLE shop.orders ALTER COLUMN phone SET DEFAULT '+49 171 2345678'});
paid(20);
$node->wait_until_idle;
$node->sql(q{UPDATE capi.delivery SET finished_at = finished_at - interval '1 day'});
paid(12);
$node->wait_until_idle;
is(told(), '', 'customers as before');
$node->sql(q{UPDATE capi.delivery SET finished_at = finished_at - interval '1 day' WHERE finished_at > now() - interval '1 hour';
  ALTER TABLE shop.orders ALTER COLUMN phone SET DEFAULT 'n/a'});
paid(12);
$node->wait_until_idle;
is_told('customers', qr/Orders of source web with a usable telephone number fell from 100 % of the week before to 0 % of the last hours\..*match_quality\('web'\)/,
	'numbers that are none');
$node->sql(q{UPDATE shop.orders SET phone = NULL WHERE phone = 'n/a'; UPDATE capi.delivery SET problems = NULL});
is_told('customers', qr/telephone number fell from 100 % .* to 0 %/, 'no numbers any more');
forget();

# --- what attach() says, diagnose() says, too ----------------------------------

attach_with(on => q{event_name => 'purchase', on_column => 'status', on_values => '{PAID}'}, query => query_of() . ' LIMIT 100');
$node->sql(q{SELECT capi.alter_dataset('main', test_event_code => 'TEST1')});
my $told = told();
like($told, qr/event_name "purchase".*Perhaps you meant "Purchase"/s, 'the name of the event');
like($told, qr/no row of table "shop\.orders" has "PAID" in column "status"/, 'values that no row has');
like($told, qr/has a LIMIT/, 'a LIMIT');
like($told, qr/dataset "main" of source "web" has a test_event_code/, 'a test code');
$node->sql(q{SELECT capi.alter_source('web', event_name => 'Purchase', on_values => '{paid}', query => 'SELECT id AS key, paid_at AS event_time FROM shop.orders');
  SELECT capi.alter_dataset('main', test_event_code => '')}, 'shop_owner');
like(told(), qr/^advice\|the query of source "web" gives no event_source_url and no client_user_agent, which Meta wants of events of a website\./m,
	'what the browser would say');

$node->stop;
done_testing();
