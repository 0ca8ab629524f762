# The report's distribution of delays, at the edges of its steps, and its list of the
# newest orders that are missing.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;

my @delays = ('-1 second', '0.999 seconds', '1 second', '9 seconds', '10 seconds', '59 seconds', '60 seconds',
	'599 seconds', '600 seconds', '3599 seconds', '3600 seconds', '86399 seconds', '86400 seconds', '30 days');

# Rows of the table "Within | Events | Share", and the sentence above it.
sub delays
{
	my $page = $node->sql('SELECT capi.report_html()', 'shop_owner');
	my ($sentence) = $page =~ /<p class="figures">(.*?)<\/p>/s;
	my ($table) = $page =~ /<table class="delays">(.*?)<\/table>/s;
	my @rows = map { s/&#8239;//gr } ($table // '') =~ /<td class="first">([^<]*)<\/td><td class="num[^>]*>([^<]*)</g;

	return (($sentence // '') =~ s/<[^>]*>//gr, @rows);
}

is((delays())[0], '', 'nothing was delivered, nothing is told');

$node->sql("INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key)"
	  . " SELECT now() - interval '1 minute', now() - interval '1 minute' - t::interval, s.id, s.dataset_id, 1, 'delivered', 'k' || n"
	  . " FROM capi.source s, unnest('{" . join(',', map { "\"$_\"" } @delays) . "}'::text[]) WITH ORDINALITY u (t, n)");
my ($sentence, @rows) = delays();
is(join(' ', @rows), '1 second 2 10 seconds 2 1 minute 2 10 minutes 2 1 hour 2 1 day 2 more than 1 day 2', 'each step has its own');
is($sentence, 'half within 60.0 s &middot; 95% within 30.0 d &middot; longest 30.0 d', 'half, most and the longest');

$node->sql("DELETE FROM capi.delivery WHERE finished_at - captured_at < '1 day'");
($sentence, @rows) = delays();
is(join(' ', @rows), '1 second 0 10 seconds 0 1 minute 0 10 minutes 0 1 hour 0 1 day 0 more than 1 day 2', 'all of them late');

# --- missing orders ------------------------------------------------------------------

# Keys in the table of orders that did not arrive, newest first.
sub listed
{
	my ($arguments) = @_;
	my $page = $node->sql("SELECT capi.report_html($arguments)", 'shop_owner');
	my ($table) = $page =~ /<table class="orders">(.*?)<\/table>/s;

	return join ' ', ($table // '') =~ /<td class="first key"><bdi>([^<]*)</g;
}

# Of the last seven days three orders a day, never captured; what is asked is what is shown.
sub newest
{
	my ($since, $until) = @_;

	return $node->sql("SELECT coalesce(string_agg(order_key, ' ' ORDER BY event_time DESC), '') FROM (SELECT * FROM"
		  . " capi.missing_orders('paid_orders', $since, $until) ORDER BY event_time DESC LIMIT 10) m", 'shop_owner');
}

is(listed(''), '', 'none is missing');
$node->sql("ALTER TABLE shop.orders DISABLE TRIGGER capi_capture;"
	  . " INSERT INTO shop.orders (total, currency, email, status, paid_at)"
	  . " SELECT 1, CASE n % 2 WHEN 0 THEN 'EUR' ELSE 'USD' END, 'a\@example.com', 'paid', now() - n * interval '8 hours' - interval '1 minute' FROM generate_series(0, 20) n");
is(scalar(split / /, listed('')), 10, 'ten of many');
foreach my $time ([ "now() - interval '7 days'", 'now()' ], [ "now() - interval '7 days'", "now() - interval '3 days'" ],
	[ "now() - interval '20 hours'", 'now()' ], [ "now() - interval '90 days'", 'now()' ], [ "now() - interval '1000 days'", 'now()' ],
	[ "'-infinity'", "'infinity'" ], [ "now() - interval '5 days 1 hour'", "now() - interval '5 days'" ])
{
	is(listed(join ', ', @$time), newest(@$time), "the newest from $time->[0] to $time->[1]");
}

done_testing();
