# Browser contexts and events without a table, on their way to the endpoint:
# what is filled in, what is deleted with the outcome, and what is sent once.
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
$node->sql("CREATE ROLE web LOGIN; SELECT capi.grant_access('web', 'writer')");

sub event
{
	my ($id) = @_;
	my @found = grep { $_->{event}{event_id} eq $id } $sandbox->events;

	return @found == 1 ? $found[0]{event} : undef;
}

# the web tier writes the context before the order is paid
my @ids = $node->place_orders(3);
$node->sql("SELECT capi.set_context('$ids[0]', '{\"fbp\": \"fb.1.1558571054389.1098115397\","
	  . " \"client_ip_address\": \"203.0.113.9\"}')", 'web');
$node->sql("SELECT capi.set_context('$ids[1]', '{\"consent\": false, \"client_ip_address\": \"203.0.113.10\"}')", 'web');
$node->sql("SELECT capi.set_context('not paid yet', '{\"client_ip_address\": \"203.0.113.11\"}')", 'web');
$node->pay(@ids);
$node->wait_until_idle;
is(event($ids[0])->{user_data}{fbp}, 'fb.1.1558571054389.1098115397', 'the context is in the event');
is(event($ids[0])->{user_data}{client_user_agent}, 'test agent', 'and what the query says stays');
is(event($ids[1]), undef, 'P4: no consent, no event');
is($node->sql("SELECT status, reason FROM capi.delivery_status WHERE order_key = '$ids[1]'"),
	'ignored|no consent', 'P10: and the reason is known');
is($node->sql('SELECT key FROM capi.context ORDER BY key'), 'not paid yet',
	'P7: contexts are deleted with the outcome, others stay');
$node->sql("UPDATE capi.context SET set_at = now() - interval '8 days'");
# a dispatcher that starts looks after its tables
kill 'TERM', $node->dispatcher_pid;
ok($node->wait_for('SELECT count(*) = 0 FROM capi.context'), 'P7: a context of no order is deleted in time');

# events without a table
my $lead = '{"event_name": "Lead", "event_id": "lead-1", "action_source": "system_generated",'
  . ' "user_data": {"em": "Jane.Doe@Example.com"}, "custom_data": {"form": "newsletter"}}';
like($node->sql("SELECT capi.send('main', '$lead')", 'web'), qr/^[0-9]+$/, 'send() numbers the event');
$node->wait_until_idle;
is(event('lead-1')->{custom_data}{form}, 'newsletter', 'the event arrives');
like(event('lead-1')->{user_data}{em}[0], qr/^[0-9a-f]{64}$/, 'hashed');
is($node->sql("SELECT source, event_name, status FROM capi.delivery_status WHERE order_key = 'lead-1'"),
	'send:main:Lead|Lead|delivered', 'and has its status');
$node->sql("SELECT capi.send('main', '$lead')", 'web');
$node->sql("SELECT capi.send('main', '{\"event_name\": \"Lead\", \"user_data\": {\"fn\": \"Jane\"}}', 'thin')", 'web');
$node->sql("BEGIN; SELECT capi.send('main', '{\"event_name\": \"Lead\", \"user_data\": {\"em\": \"x\@y.de\"}}', 'undone'); ROLLBACK", 'web');
$node->wait_until_idle;
is(scalar(grep { $_->{event}{event_id} eq 'lead-1' } $sandbox->events), 1, 'P5: once');
is($node->sql("SELECT status, reason, error_subcode FROM capi.delivery_status WHERE order_key = 'thin'"),
	'rejected|no_customer_data|2804050', 'what Meta would refuse has its reason');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE order_key = 'undone'"), '0',
	'P4: rolled back with the transaction');
unlike($node->sql('SELECT string_agg(t::text, chr(10)) FROM capi.direct_event t'), qr/jane/i, 'P7: nothing raw is stored');

done_testing();
