# Refusals that mean the account and not the event reject nobody: the dataset
# stops, says so, and goes on by itself.  What means an event does not stop it.
# slow
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '10min'");
$node->install_capi;
$node->attach;

my %MISSING = (code => 100, message => '(#100) Missing Permission', times => undef);

sub stopped_ok
{
	my ($name) = @_;

	return ok($node->wait_for("SELECT state = 'refused' FROM capi.health"), "$name: the dataset stops");
}

sub rejected
{
	return $node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'rejected'");
}

# --- a batch of which all are refused ------------------------------------------

my $requests = $sandbox->stats->{requests};
$sandbox->misbehave(%MISSING);
$node->pay($node->place_orders(64));
stopped_ok('a batch');
cmp_ok($sandbox->stats->{requests} - $requests, '<', 16, 'a batch: after a few requests');
like($node->sql('SELECT reason FROM capi.health'), qr/every event is refused alike: error 100/, 'it says why');
is($node->sql("SELECT ok FROM capi.diagnose() WHERE \"check\" = 'dataset main'"), 'f', 'and diagnose() does');
is(rejected(), 0, 'nobody is rejected');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status IN ('queued', 'retrying') AND reason IS NOT NULL"),
	64, 'all wait, with a reason');
$sandbox->behave;
$requests = $sandbox->stats->{requests};
$node->wait_until_idle;
$node->deliveries_ok('a batch: when it has the permission');
ok($node->wait_for("SELECT state = 'ok' FROM capi.health"), 'by itself');
cmp_ok($sandbox->stats->{requests} - $requests, '<=', 5, 'in a few requests');

# --- one order after the other -------------------------------------------------

foreach my $case ([ 'no subcode', %MISSING ], [ 'an unknown subcode', %MISSING, subcode => 1_234_567 ],
	[ 'another code', %MISSING, code => 105 ])
{
	my ($name, %plan) = @$case;

	$sandbox->misbehave(%plan);
	foreach (1 .. 3)
	{
		my ($id) = $node->place_orders(1);

		$requests = $sandbox->stats->{requests};
		$node->pay($id);
		ok($node->wait_for("SELECT reason IS NOT NULL FROM capi.delivery_status WHERE order_key = '$id'"), "$name: it waits");
	}
	stopped_ok($name);
	is(rejected(), 0, "$name: nobody is rejected");
	$sandbox->behave;
	$node->wait_until_idle;
	$node->deliveries_ok("$name: when the account is in order");
}

# --- bad events that read like it ----------------------------------------------

my @mixed = $node->place_orders(40);
my @bad = @mixed[ 0, 1, 2, 3, 17, 39 ];
$sandbox->misbehave(%MISSING, match => { event_id => [ map { "$_" } @bad ] });
$node->pay(@mixed);
$node->wait_until_idle;
is($node->sql("SELECT string_agg(order_key, ' ' ORDER BY order_key::int) FROM capi.delivery_status WHERE status = 'rejected'"),
	"@bad", 'P6: those that alone are refused are found, whatever the code');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @mixed) . "')"), 34, 'P6: the others are delivered');
ok($node->wait_for("SELECT state = 'ok' FROM capi.health"), 'P6: and the dataset goes on');
my ($alone) = $node->place_orders(1);
$sandbox->behave;
$sandbox->misbehave(%MISSING, match => { event_id => "$alone" });
$node->pay($alone);
ok($node->wait_for("SELECT status = 'retrying' AND reason = 'unclear refusal' FROM capi.delivery_status WHERE order_key = '$alone'"),
	'one that is refused with nothing to compare it to waits');
$node->pay($node->place_orders(1));
$node->wait_until_idle;
is($node->sql("SELECT status, reason, error_code FROM capi.delivery_status WHERE order_key = '$alone'"),
	'rejected|refused|100', 'until another one is accepted');

# --- answers that say nothing ----------------------------------------------------

$sandbox->behave;
my @odd = $node->place_orders(64);
my $odd = $odd[40];
$sandbox->misbehave(status => 400, html => JSON::PP::true(), match => { event_id => "$odd" }, times => undef);
$node->pay(@odd);
ok($node->wait_for("SELECT count(*) = 63 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @odd) . "')", 120), 'halves of a batch that fails without a reason stay apart');
ok($node->wait_for("SELECT status = 'retrying' AND reason = 'unclear answer' FROM capi.delivery_status WHERE order_key = '$odd'"),
	'until one is left, which waits');
$requests = $sandbox->stats->{requests};
$node->pay($node->place_orders(20));
ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE status IN ('queued', 'held', 'retrying')"),
	'P6: others are not stopped by it');
is($sandbox->stats->{requests} - $requests, 1, 'nor sent with it');
$sandbox->behave;
$node->sql("UPDATE capi.backlog SET next_attempt_at = now()");
$node->reload;
$node->wait_until_idle;
is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$odd'"), 'delivered', 'P3: it is delivered in the end');

# What waits for a time of its own, or of the dataset's, need not.
sub idle_soon
{
	$node->sql("UPDATE capi.backlog SET next_attempt_at = now(); SELECT capi.resume_dataset('main')");
	$node->reload;
	return $node->wait_until_idle;
}

# --- an account that is refused for a moment --------------------------------------

# until one event is alone, which is not to blame
$sandbox->behave;
$sandbox->misbehave(%MISSING, times => 7);
my @moment = $node->place_orders(64);
$node->pay(@moment);
idle_soon();
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @moment) . "')"), 64, 'an account that was refused for a moment: all are delivered');

# --- an answer that names an event, each time another one --------------------------

my %NAMED = (code => 100, subcode => 2804019, user_msg => q{$['data'][0]['custom_data']['contents']}, times => undef);

my $before = rejected();
$sandbox->misbehave(%NAMED);
my @named = $node->place_orders(64);
$node->pay(@named);
stopped_ok('the first of each batch is named');
is(rejected(), $before, 'nobody is rejected');
$sandbox->behave;
idle_soon();
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
		. join("', '", @named) . "')"), 64, 'all are delivered when it names none');

# some that are to blame
$before = rejected();
$sandbox->misbehave(%NAMED, times => 3);
$node->pay($node->place_orders(20));
idle_soon();
is(rejected() - $before, 3, 'P6: those that are named while others are accepted are rejected');

# every third: in hardly any part of the batch is none, until the parts are small
$sandbox->behave;
$node->change('capi.local_checks' => 'off');
ok($node->wait_for("SELECT current_setting('capi.local_checks') = 'off'"), 'whatever is sent');
$node->sql("SELECT capi.alter_source('paid_orders', query => (SELECT replace(query, 'SELECT ',"
		. " 'SELECT CASE WHEN o.id % 3 = 0 THEN ''app'' END AS action_source, ') FROM capi.source))", 'shop_owner');
my @third = $node->place_orders(240);
my $of_third = "order_key IN ('" . join("', '", @third) . "')";
$node->pay(@third);
$node->wait_until_idle;
is($node->sql("SELECT status, reason, error_subcode, count(*) FROM capi.delivery_status WHERE $of_third GROUP BY 1, 2, 3 ORDER BY 1"),
	"delivered|||160\nrejected|refused|2804019|80", 'P6: so are those that are many');
is($node->sql("SELECT count(*) FROM capi.history WHERE key IN ('" . join("', '", @third) . "')"), 0, 'P6: and they stop no other');
$node->sql("SELECT capi.alter_source('paid_orders', query => (SELECT replace(query,"
		. " 'CASE WHEN o.id % 3 = 0 THEN ''app'' END AS action_source, ', '') FROM capi.source))", 'shop_owner');

# --- a proxy for which everything is too large -------------------------------------

$before = rejected();
$sandbox->misbehave(status => 413, html => JSON::PP::true(), times => undef);
foreach (1 .. 3)
{
	my ($id) = $node->place_orders(1);

	$node->pay($id);
	ok($node->wait_for("SELECT reason IS NOT NULL FROM capi.delivery_status WHERE order_key = '$id'"), '413: it waits');
}
stopped_ok('413');
is(rejected(), $before, '413: nobody is rejected');
$sandbox->behave;
idle_soon();

# --- an event for which the endpoint fails, as it does in an outage -----------------

foreach my $plan ({ status => 500, code => 1 })
{
	my @beside = $node->place_orders(40);
	my $poison = $beside[0];
	my $name = join ' ', map { "$_ $plan->{$_}" } sort keys %$plan;

	$sandbox->behave;
	$sandbox->misbehave(%$plan, match => { event_id => "$poison" }, times => undef);
	$node->pay(@beside);
	ok($node->wait_for("SELECT count(*) = 39 FROM capi.delivery_status WHERE status = 'delivered' AND order_key IN ('"
			. join("', '", @beside) . "')", 150), "P6: $name: the others are delivered");
	is($node->sql("SELECT status FROM capi.delivery_status WHERE order_key = '$poison'"), 'retrying', "P3: $name: it waits");
	$requests = $sandbox->stats->{requests};
	$node->pay($node->place_orders(20));
	ok($node->wait_for("SELECT count(*) = 1 FROM capi.delivery_status WHERE status IN ('queued', 'held', 'retrying')"),
		"P6: $name: and stops no other");
	$sandbox->behave;
	idle_soon();
}

$node->stop;
done_testing();
