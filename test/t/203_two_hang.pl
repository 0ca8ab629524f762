# P6: two datasets whose requests hang at the same host leave a third its own, also
# without HTTP/2, where each request wants a connection.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.request_timeout = '10min'\ncapi.poll_interval = '100ms'\nautovacuum = off");
$node->install_capi;
my @datasets = map { { name => "hangs$_", dataset_id => 700 + $_ } } 1 .. 3;
$node->create_dataset(%$_) foreach @datasets;
$sandbox->misbehave(match => { dataset => "$_->{dataset_id}" }, hang => JSON::PP::true, times => undef) foreach @datasets;

sub told
{
	my ($dataset, $id) = @_;

	$node->sql("SELECT capi.send('$dataset', '{\"event_name\": \"Lead\", \"event_id\": \"$id\", \"action_source\": \"website\","
		  . " \"event_source_url\": \"https://shop.example/\", \"user_data\": {\"em\": \"lead\@example.com\"}}', '$id')");
	return;
}

# each fills what one dataset may have under way
my $hanging = 0;
foreach my $dataset (@datasets)
{
	foreach my $n (1 .. 4)
	{
		told($dataset->{name}, "$dataset->{name}-$n");
		ok($sandbox->wait_for(hanging => ++$hanging, timeout_s => 20), "$dataset->{name}: request $n hangs") or last;
	}
}
told('main', 'good');
ok($sandbox->wait_for(distinct_events => 1, timeout_s => 20), 'P6: the event of another dataset arrives');

done_testing();
