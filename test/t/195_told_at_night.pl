# Who looks at night at capi.status, capi.diagnose() and capi.explain_event() is
# told first what stops orders, and nothing that cannot be mended.
use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;

my $QUERY = q{SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, %s AS currency, o.email AS em FROM shop.orders o WHERE o.status <> 'pending'};

sub attach_with
{
	my ($source, $currency) = @_;
	my $query = sprintf $QUERY, $currency;

	return $node->sql("SELECT capi.attach('$source', 'shop.orders', 'main', on_column => 'status', on_values => '{paid}', query => \$q\$$query\$q\$)", 'shop_owner');
}

sub state_of { return $node->sql("SELECT state || '|' || sentence FROM capi.status WHERE \"check\" = '$_[0]'", 'shop_owner') }
sub paid { my @ids = $node->place_orders(@_); $node->pay(@ids); return @ids }

# --- the token is refused; what is said of the source's query comes second -----------

attach_with('web', 'o.currency');
like(state_of('sending'), qr/^attention\|advice: /, 'no page and no browser is told: advice');
$sandbox->post('tokens', { revoke => ['sandbox-token'], add => ['second-token'] });
my ($late) = paid(1);
ok($node->wait_for(q{SELECT state = 'credential' FROM capi.health}), 'the token is refused');
like(state_of('sending'), qr/^attention\|2 checks fail\. dataset main: State credential/, 'status names that first');
my $story = $node->sql("SELECT string_agg(step || ': ' || detail, E'\\n') FROM capi.explain_event('$late')");
like($story, qr/^queued: dataset waits for its token, error 190/m, 'and the story of the order');
unlike($story, qr/waits until/, 'without a time that is over');
$node->sql(q{SELECT capi.set_access_token('main', 'second-token')});
$node->wait_until_idle;

# --- no token at all -------------------------------------------------------------------

my $url = $sandbox->url;
$node->sql("SELECT capi.alter_dataset('main', access_token_file => '/nowhere/token', endpoint => '$url')");
my ($waits) = paid(1);
ok($node->wait_for("SELECT reason = 'the token file does not exist' FROM capi.delivery_status WHERE order_key = '$waits'"), 'an order waits for a token file');
is($node->sql("SELECT detail FROM capi.explain_event('$waits') WHERE step = 'next'"), 'It waits for dataset main: the token file does not exist',
	'its story says what for');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'dataset main'}), qr/^Mend the file/, 'and diagnose() what to do');
$node->sql(q{SELECT capi.set_access_token('main', 'second-token', endpoint => '} . $url . q{')});
$node->wait_until_idle;

# --- an order that nobody knows ----------------------------------------------------

is($node->sql(q{SELECT string_agg(source_name || ' ' || step, ', ' ORDER BY at) FROM capi.explain_event('4711')}), 'web attached, web next',
	'without a source, each source says why it does not know an order');
is($node->sql("SELECT count(DISTINCT source_name) FROM capi.explain_event('$late')"), 1, 'an order that one knows is of that one');

# --- two sources, two reasons; one is detached ---------------------------------------

attach_with('nothing', 'NULL::text');
attach_with('wrong', q{'Euros'});
paid(2);
$node->wait_until_idle;
my $told = q{SELECT detail || '|' || hint FROM capi.diagnose() WHERE "check" = 'outcomes' AND NOT ok};
like($node->sql($told), qr/\|nothing: A column .* Look with SELECT \* FROM capi\.preview\('nothing'\); wrong: A column .* capi\.preview\('wrong'\);$/,
	'each source has its hint');
$node->sql("SELECT capi.detach('nothing')");
like($node->sql($told), qr/source wrong, 2 of 2 rejected, no_currency\.\|A column [^:]* capi\.preview\('wrong'\);$/, 'of a detached one nothing is said');
$node->sql("SELECT capi.detach('wrong')");
is($node->sql($told), '', 'nor of the last one');

# --- a column that is gone is not said to have no such value ---------------------------

$node->sql('ALTER TABLE shop.orders RENAME status TO state', 'shop_owner');
my @missed = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET state = 'paid', paid_at = now() WHERE id = $missed[0]", 'shop_app');
unlike($node->sql(q{SELECT detail FROM capi.diagnose() WHERE "check" = 'advice'}), qr/waits for/, 'advice is silent of values');
like($node->sql(q{SELECT hint FROM capi.diagnose() WHERE "check" = 'sources'}), qr/alter_source\(\)/, 'the check of sources is not');
$node->sql('ALTER TABLE shop.orders RENAME state TO status', 'shop_owner');
$node->sql(q{SELECT capi.alter_source('web')}, 'shop_owner');
ok($node->wait_for(q{SELECT missed_captures > 0 FROM capi.source_status}), 'what was missed is counted');
like(state_of('sources'), qr/^attention\|Rows that could not be captured: \d+, of web\.$/, 'and told');
$node->sql(q{CALL capi.backfill('web', now() - interval '1 day')}, 'shop_owner');
$node->wait_until_idle;
like(state_of('sources'), qr/^ok\|1 of 1 sources work; of the rows once missed no order is missing\.$/, 'until no order is missing any more');

# --- a database whose name needs quotes ------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE "My shop"');
$node->safe_psql('My shop', 'CREATE EXTENSION capi');
my $hint = $node->safe_psql('My shop', q{SELECT hint FROM capi.diagnose() WHERE "check" = 'listed'});
like($hint, qr/^ALTER SYSTEM SET capi\.databases = '.*, "My shop"'; /, 'the hint quotes it');
$node->safe_psql('My shop', $_) foreach grep { /\S/ } split /;/, $hint;
ok($node->in_database('My shop')->wait_for(q{SELECT ok FROM capi.diagnose() WHERE "check" = 'dispatcher'}), 'and can be run as it is');

# --- cents ---------------------------------------------------------------------------------

$node->sql(q{
ALTER TABLE shop.orders ADD COLUMN total_cents int;
UPDATE shop.orders SET total_cents = (100 * total)::int;
SELECT capi.attach('cents', 'shop.orders', 'main', query => 'SELECT o.id AS key, o.paid_at AS event_time, o.total_cents AS value, o.currency FROM shop.orders o WHERE o.paid_at IS NOT NULL')}, 'shop_owner');
my $advice = q{SELECT detail FROM capi.diagnose() WHERE "check" = 'advice'};
like($node->sql($advice), qr/the query of source "cents" gives "total_cents" as value, whose name says cents/, 'cents for euros are told');
$node->sql(q{SELECT capi.alter_source('cents', query => 'SELECT o.id AS key, o.paid_at AS event_time, o.total_cents / 100.0 AS value, o.currency FROM shop.orders o WHERE o.paid_at IS NOT NULL')}, 'shop_owner');
unlike($node->sql($advice), qr/name says cents/, 'until they are divided');
is($node->sql(q{SELECT count(*) FROM capi.missing_orders('cents') WHERE scale(value) > 2}, 'shop_owner'), 0, 'without sixteen decimals where the orders are counted');
is($node->sql(q{SELECT count(*) FROM capi.reconcile('cents') WHERE scale(order_value) > 2}, 'shop_owner'), 0, 'and summed up');
$node->sql(q{SELECT capi.alter_source('cents', minor_units => '2', query => 'SELECT o.id AS key, o.paid_at AS event_time, o.total_cents AS value, o.currency FROM shop.orders o')}, 'shop_owner');
unlike($node->sql($advice), qr/name says cents/, 'or minor_units says what they are');

# --- a zone whose sign is not what it seems --------------------------------------------

my $zoned = q{query => 'SELECT o.id AS key, o.created_at AS event_time, o.total AS value, o.currency FROM (SELECT *, paid_at AT TIME ZONE ''%s'' AS created_at FROM shop.orders) AS o'};
foreach my $case (['UTC+2', 'UTC', 'behind'], ['Etc/GMT-1', 'UTC', 'ahead'], ['Europe/Berlin', '+02:00', 'behind'], ['Europe/Berlin', 'Etc/GMT+0', ''])
{
	my ($argument, $inside, $is) = @$case;

	$node->sql("SELECT capi.alter_source('cents', minor_units => '', time_zone => '$argument', " . sprintf($zoned, $inside) . ')', 'shop_owner');
	my ($named) = $node->sql($advice) =~ /time zone "[^"]*" of source "cents" is (\w+)(?: of)? UTC/;
	is($named // '', $is, "$argument, and $inside in the query: " . ($is || 'nothing to say'));
}
cmp_ok($node->sql(q{SELECT extract(hour FROM timestamp '2026-01-01 12:00' AT TIME ZONE 'UTC+2' AT TIME ZONE 'UTC')}), '==', 14, 'noon at UTC+2 is two in the afternoon of UTC');
$node->sql(q{SELECT capi.detach('cents')});

# --- attach() in the transaction of a migration ------------------------------------------

my $began = time;
$node->sql(q{
BEGIN;
ALTER TABLE shop.orders ADD COLUMN note text;
} . join('', map { "SELECT capi.attach('m$_', 'shop.orders', 'main', query => 'SELECT o.id AS key, o.paid_at AS event_time, o.note AS em FROM shop.orders o');\n" } 1 .. 20) . 'COMMIT', 'shop_owner');
cmp_ok(time - $began, '<', 15, 'a reader that waits for the table is given up, not waited for twenty times');

done_testing();
