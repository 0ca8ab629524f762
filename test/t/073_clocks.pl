# Events that are ahead of a clock wait for their time; datasets that do not
# exist are waited for.  Neither is final.
# slow
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '10min'");
$node->install_capi;
$node->attach;

sub pay_at
{
	my ($offset, @ids) = @_;

	$node->sql("UPDATE shop.orders SET status = 'paid', paid_at = now() + interval '$offset'"
		  . ' WHERE id IN (' . join(', ', @ids) . ')', 'shop_app');
	return;
}

sub outcome
{
	my ($id, $wanted, $name) = @_;

	ok($node->wait_for("SELECT status || ' ' || coalesce(reason, '-') = '$wanted' FROM capi.delivery_status WHERE order_key = '$id'"), $name)
	  or diag($node->sql("SELECT status, reason, next_attempt_at FROM capi.delivery_status WHERE order_key = '$id'"));
	return;
}

# --- the application's clock ---------------------------------------------------

my ($minute, $hour, $zone, $usual) = $node->place_orders(4);
pay_at('70 s', $minute);
pay_at('1 hour', $hour);
pay_at('2 hours', $zone);
pay_at('20 s', $usual);
outcome($minute, 'held in_the_future', 'a minute ahead: held');
outcome($hour, 'held in_the_future', 'an hour ahead, as in the night in which summer time ends: held');
outcome($zone, 'rejected in_the_future', 'two hours ahead is no clock');
outcome($usual, 'delivered -', 'seconds ahead are nothing');
is($node->sql("SELECT next_attempt_at <= event_time FROM capi.delivery_status WHERE order_key = '$minute'"), 't',
	'it is looked at again before its time is over');
is($node->sql("SELECT ok FROM capi.diagnose() WHERE \"check\" = 'clock'"), 't', 'the clocks agree');
pay_at('0', $hour);
$node->sql("UPDATE shop.orders SET paid_at = now() WHERE id = $hour; UPDATE capi.backlog SET next_attempt_at = now() WHERE key = '$hour'");
$node->reload;
outcome($hour, 'delivered -', 'its time was set right');

# --- this server's clock -------------------------------------------------------

$sandbox->post('clock', { offset_s => -80 });
my @ids = $node->place_orders(6);
my @old = splice @ids, 3;
my $requests = $sandbox->stats->{requests};
$node->sql($node->pay_statement(@ids) . '; ' . "UPDATE shop.orders SET status = 'paid',"
	  . " paid_at = now() - interval '1 hour' WHERE id IN (" . join(', ', @old) . ')', 'shop_app');
outcome($_, 'delivered -', 'an event of the past is not held up by those beside it') foreach @old;
outcome($_, 'retrying in_the_future', "what is ahead of Meta's clock waits") foreach @ids;
is($sandbox->stats->{requests} - $requests, 2, 'the clocks tell which it is');
like($node->sql("SELECT detail FROM capi.diagnose() WHERE \"check\" = 'clock' AND NOT ok"),
	qr/00:01:(19|20).* ahead of that of the endpoint of dataset main/, 'diagnose() names the difference');
$sandbox->post('clock', { offset_s => 0 });
ok($node->wait_until_idle(120), 'until that is right, or its time is reached');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'rejected'"), 1, 'nobody else is rejected');
is($node->sql("SELECT ok FROM capi.diagnose() WHERE \"check\" = 'clock'"), 't', 'the clocks agree again');

# who judges has another clock than who answers: the youngest are early
my @young = $node->place_orders(32);
my @past = splice @young, 16;
$sandbox->misbehave(code => 100, subcode => 2804004);
$requests = $sandbox->stats->{requests};
$node->sql($node->pay_statement(@young) . '; ' . "UPDATE shop.orders SET status = 'paid',"
	  . " paid_at = now() - interval '1 hour' WHERE id IN (" . join(', ', @past) . ')', 'shop_app');
ok($node->wait_for("SELECT count(*) = 16 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @past) . "')"), 'no clock tells which is early: what is older goes');
is($sandbox->stats->{requests} - $requests, 2, 'without a search');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'retrying' AND reason = 'in_the_future'"), 16, 'the rest waits');
$node->sql('UPDATE capi.backlog SET next_attempt_at = now()');
$node->reload;
ok($node->wait_until_idle, 'for some seconds');

# --- a dataset that does not exist yet -----------------------------------------

my $query = $node->sql("SELECT query FROM capi.source WHERE name = 'paid_orders'");
$node->sql("SELECT capi.alter_source('paid_orders', query => \$q\$"
	  . $query =~ s/SELECT o.id AS key/SELECT o.id AS key, 'later' AS dataset/r . '$q$)', 'shop_owner');
my @later = $node->place_orders(3);
$node->pay(@later);
outcome($_, 'queued unknown_dataset', 'an unknown dataset: it waits') foreach @later;
like($node->sql("SELECT detail FROM capi.diagnose() WHERE \"check\" = 'unknown datasets' AND NOT ok"),
	qr/3 orders wait.*paid_orders/, 'diagnose() tells');
$node->sql("UPDATE capi.backlog SET next_attempt_at = now() + interval '1 hour'");
$node->create_dataset(name => 'later');
outcome($_, 'delivered -', 'until it is created') foreach @later;

$node->stop;
done_testing();
