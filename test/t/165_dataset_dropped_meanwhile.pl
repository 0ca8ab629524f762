# A dataset is dropped while a request of its is under way: what Meta says against
# the dataset is no word on the order, which goes where its source's orders go.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->attach;
my $datasets = 0;
foreach my $case (
	[ 1, 'one order, refused', { status => 400, code => 100 } ],
	[ 3, 'several, refused', { status => 400, code => 100 } ],
	[ 1, 'one order, an answer that says nothing', { status => 400, html => JSON::PP::true } ])
{
	my ($count, $name, $answer) = @$case;
	my $old = $node->sql('SELECT dataset FROM capi.source_status');
	my $new = 'next' . ++$datasets;

	$node->create_dataset(name => $new, dataset_id => "223456789$datasets");
	my @ids = $node->hang($count, %$answer, accept => 0);
	$node->sql("SELECT capi.alter_source('paid_orders', dataset => '$new'); SELECT capi.drop_dataset('$old')");
	# the dispatcher knows of it before the answer comes
	my $told = $node->sql("SELECT clock_timestamp()");
	ok($node->wait_for("SELECT bool_or(state_change > '$told') FROM pg_stat_activity WHERE backend_type = 'capi dispatcher'"),
		"$name: the dataset is gone");
	$sandbox->release;
	$node->wait_until_idle;
	is($node->sql("SELECT string_agg(DISTINCT status || ' ' || dataset, ', ') FROM capi.delivery_status WHERE order_key IN ('"
			. join("', '", @ids) . "')"), "delivered $new", "$name: P3: each goes where the source sends now");
	$sandbox->behave;
}
is($node->sql("SELECT count(*) FROM capi.delivery WHERE outcome = 'rejected'"), 0, 'nobody is rejected');
$node->stop;
done_testing();
