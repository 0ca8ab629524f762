# doc/questions.md: each query runs as the owner, answers with the columns that
# the document shows, is at most 120 columns wide, and says what happened.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;

# --- the document ----------------------------------------------------------------

my (%query, %output, $number);
foreach my $part (split /^(?=## )/m, slurp_file("$ENV{TESTDIR}/doc/questions.md"))
{
	($number) = $part =~ /^## (\d+)\./ or next;
	($query{$number}) = $part =~ /^```sql\n(.*?)^```/ms or die "question $number has no query";
	($output{$number}) = $part =~ /^```\n\n```\n(.*?)^```$/ms or die "question $number has no answer in a block of its own";
}
cmp_ok(scalar keys %query, '>=', 10, 'there are ten questions');

# --- what happens --------------------------------------------------------------

my @delivered = $node->place_orders(4);
my ($test, $bad, $waits) = $node->place_orders(3);
my @late = $node->place_orders(3);
my @missing = $node->place_orders(2);

$node->sql("UPDATE shop.orders SET is_test = id = $test, currency = CASE id WHEN $bad THEN '???' ELSE currency END WHERE id IN ($test, $bad)");
$node->pay(@delivered, $test, $bad);
$node->wait_until_idle;
like(answer(1), qr/orders +\| ok/, 'before: every order has an answer');

# nobody renews the token for a while
$sandbox->post('tokens', { revoke => ['sandbox-token'], add => ['second-token'] });
$node->pay(@late);
ok($node->wait_for("SELECT bool_and(h.reason ~ '190') AND count(*) = 3 FROM capi.health h, capi.delivery_status s"
		  . " WHERE s.status IN ('queued', 'retrying') AND s.reason IS NOT NULL"), 'orders wait for a token');
my $outage = answer(5);
$node->sql("SELECT capi.set_access_token('main', 'second-token')");
$node->wait_until_idle;

$node->sql('ALTER TABLE shop.orders DISABLE TRIGGER capi_capture', 'shop_owner');
$node->pay(@missing);
$node->sql(qq{
UPDATE shop.orders SET total = 1 WHERE id = $delivered[1];
DELETE FROM shop.orders WHERE id = $delivered[2];
ALTER TABLE shop.orders ENABLE TRIGGER capi_capture}, 'shop_owner');
$node->sql("SELECT capi.pause_dataset('main')");
$node->pay($waits);
ok($node->wait_for("SELECT reason IS NOT NULL FROM capi.delivery_status WHERE order_key = '$waits'"), 'an order waits for its dataset');

# --- what the owner asks ---------------------------------------------------------

# As psql shows it; kept for the document with CAPI_ANSWERS=folder.
sub answer
{
	my ($n, $unaligned) = @_;
	my $sql = $query{$n} =~ s/'1042'/'$delivered[0]'/gr;

	return $node->safe_psql($node->database, $sql,
		extra_params => [ '-U', 'shop_owner', $unaligned ? () : ('-P', 'format=aligned', '-P', 'tuples_only=off', '-P', 'footer=off') ]);
}

foreach my $n (sort { $a <=> $b } keys %query)
{
	my $text = answer($n);
	my ($head) = $text =~ /^(.*)$/m;
	my ($shown) = $output{$n} =~ /^(.*)$/m;
	my ($longest) = sort { $b <=> $a } map { s/ +$//; length } split /\n/, $text;

	if ($ENV{CAPI_ANSWERS})
	{
		open my $fh, '>', "$ENV{CAPI_ANSWERS}/$n" or die "$ENV{CAPI_ANSWERS}/$n: $!";
		print $fh $text =~ s/ +$//mgr, "\n";
		close $fh;
	}
	is($head =~ tr/ //dr, $shown =~ tr/ //dr, "question $n: the columns of the document");
	cmp_ok($longest, '<=', 120, "question $n: at most 120 columns");
	cmp_ok(scalar(split /\n/, $text), '>', 2, "question $n: an answer");
}

is(answer(2, 1), "missing|never captured|2\nignored|test order|1\nqueued|dataset paused|1\nrejected|no_currency|1", '2: how many orders Meta did not get, and why');
is($node->sql("SELECT sum(orders - delivered) FROM capi.reconcile('paid_orders')", 'shop_owner'), 5, '2: as many as capi.reconcile() says');
like(answer(3, 1), qr/^paid_orders\|delivered\|\|10.01\|EUR\|.*\|200$/, '3: the order went out');
like(answer(4, 1), qr/^captured\|.*^sent\|.*^delivered\|.*^next\|/ms, '4: its story');
like($outage, qr/\| +3 \|/, '5: orders that wait for the token');
like(answer(5, 1), qr/^paid_orders\|queued\|.*\|1\|/, '5: an order that waits for its dataset');
like(answer(6, 1), qr/^main\|[\d:]+\|EUR\|3\|[\d:]+\|0\|0$/, '6: three orders were late, none lost');
is((split /\n/, answer(7, 1))[0], $node->sql(q{
SELECT 'EUR', count(*) + 1, sum((d.value IS NOT NULL)::int) + 1, sum(o.total), sum(d.value) + 10.03, sum(o.total) - sum(d.value) - 10.03
  FROM shop.orders o LEFT JOIN capi.delivery_status d ON d.order_key = o.id::text AND d.status = 'delivered'
 WHERE o.status = 'paid' AND o.currency = 'EUR'}), '7: what was sold and told, as the shop counts it, and the order that is gone');
is(answer(8, 1), "$delivered[2]|gone|10.03|EUR||\n$delivered[1]|changed|10.02|EUR|1.00|EUR", '8: a changed order and a deleted one');
like(answer(9, 1), qr/^$bad\|no_currency\|/, '9: the order that cannot be sent');
like(answer(10, 1), qr/^7\|/, '10: so many were delivered');
like(answer(11, 1), qr/^em\|\d+\|\d+\|100\.0\|/m, '11: every order has an address');
is(answer(1, 1) =~ s/\|[^|]*\|[^|]*$//mgr, "sending|attention\nsources|ok\nwaiting|ok\noutcomes|attention\norders|attention", '1: what is wrong is said');

done_testing();
