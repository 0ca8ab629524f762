# P7: an order that comes to wait while another session forgets it is not sent.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;

# Its request is under way while it is forgotten, and fails before that commits, and
# so does each that is tried until the sandbox behaves.
sub forget_under_way
{
	my ($id) = $node->hang(1, accept => 0, status => 500, code => 2);
	my $session = $node->session;

	$session->sql('BEGIN');
	$session->sql("SELECT capi.forget('$id')");
	$sandbox->misbehave(status => 503, times => undef);
	$sandbox->release;
	ok($node->wait_for("SELECT EXISTS (SELECT FROM capi.backlog WHERE key = '$id' AND status = 'retrying')"), 'it waits, beside that');
	return ($id, $session);
}

sub status_of { return $node->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$_[0]'") }

my ($id, $session) = forget_under_way();
$session->sql('COMMIT');
$sandbox->behave;
my ($other) = $node->place_orders(1);
$node->pay($other);
ok($node->wait_for('SELECT count(*) = 0 FROM capi.backlog'), 'it waits no more');
$node->wait_until_idle;
is(status_of($id), 'ignored|forgotten', 'P7: it is forgotten');
is(join(' ', map { $_->{event_id} } $sandbox->events), $other, 'P7: and not sent, others are');
$node->sql("SELECT capi._maintain_logs('90 days')");
is($node->sql("SELECT count(*) FROM capi.history WHERE key = '$id'"), 0, 'P7: nor is its story kept');

# one that is not due goes with the logs' maintenance
($id, $session) = forget_under_way();
$node->sql("SELECT capi.pause('paid_orders')");
$session->sql('COMMIT');
$sandbox->behave;
$node->sql("SELECT capi._maintain_logs('90 days')");
is($node->sql('SELECT count(*) FROM capi.backlog'), 0, 'P7: one of a source that is paused, too');
is(scalar($sandbox->events), 1, 'P7: and is not sent');

done_testing();
