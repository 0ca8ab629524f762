# A session of an audience that was refused is not gone on with, however often
# the same refusal comes: it may be what was refused.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->sql("CREATE TABLE shop.customers (id int PRIMARY KEY, email text); INSERT INTO shop.customers VALUES (1, 'ann\@example.com')", 'shop_owner');
$node->sql("SET client_min_messages = error; SELECT capi.set_access_token('main', 'sandbox-token')");
$sandbox->misbehave(match => { call => 'users' }, status => 400, code => 200, times => undef);
$node->sql("SELECT capi.create_audience('buyers', 'main', '777', 'SELECT id AS key, email AS em, true AS consent FROM shop.customers')", 'shop_owner');

sub asked
{
	my ($n) = @_;
	my $end = time + 60;

	while ((grep { $_->{call} eq 'users' } $sandbox->requests) < $n)
	{
		return 0 if time > $end;
		select undef, undef, undef, 0.05;
	}
	return 1;
}

foreach my $n (1 .. 3)
{
	ok(asked($n), "refused, $n");
	ok($node->wait_for("SELECT state = 'credential' AND session_id IS NULL FROM capi.audience_state"), "its session is over, $n")
	  or diag($node->sql('SELECT state, reason, session_id, batch_seq FROM capi.audience_state'));
	$node->sql("SELECT capi.refresh_audience('buyers')", 'shop_owner');
}
$sandbox->behave;
$node->sql("SELECT capi.refresh_audience('buyers')", 'shop_owner');
ok($node->wait_for("SELECT state = 'ok' AND members = 1 AND waiting = 0 FROM capi.audience_status"), 'another one is taken');

done_testing();
