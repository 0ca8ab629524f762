# Events that are nearly too old go in batches of their own, and those that are
# too old are expired; the version that answers is noted.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '10min'\ncapi.linger = '500ms'");
$node->install_capi;
$node->attach;

# The numbers of the requests in which events were.
sub requests_of
{
	my (@ids) = @_;
	my %request = map { $_->{event_id} => $_->{last_request} }
	  $sandbox->events(dataset => $node->dataset_id, brief => 1);

	my %seen = map { $_ => 1 } map { $request{$_} // 'none' } @ids;
	return keys %seen;
}

my @ids = $node->place_orders(9);
my @late = @ids[ 0 .. 2 ];
my @gone = @ids[ 3 .. 4 ];
my @young = @ids[ 5 .. 8 ];
$node->sql($node->pay_statement(@young)
	  . "; UPDATE shop.orders SET status = 'paid', paid_at = now() - interval '7 days' + interval '3 min' WHERE id IN (" . join(', ', @late) . ')'
	  . "; UPDATE shop.orders SET status = 'paid', paid_at = now() - interval '7 days 1 second' WHERE id IN (" . join(', ', @gone) . ')',
	'shop_app');
$node->wait_until_idle;
my ($of_late, @more_late) = requests_of(@late);
my ($of_young, @more_young) = requests_of(@young);
is(scalar(@more_late) + scalar(@more_young), 0, 'each kind in one request');
isnt($of_late, $of_young, 'those that expire soon in one of their own');
is($node->sql("SELECT count(*) FROM capi.delivery_status WHERE status = 'expired' AND reason = 'too_old'"), 2,
	'what is too late is expired');

# --- the version that answers ---------------------------------------------------

is($node->sql("SELECT ok FROM capi.diagnose() WHERE \"check\" = 'api versions'"), 't', 'the version is served for long');
$sandbox->misbehave(headers => { 'facebook-api-version' => 'v26.0' });
$node->pay($node->place_orders(1));
$node->wait_until_idle;
like($node->sql("SELECT detail FROM capi.diagnose() WHERE \"check\" = 'api versions' AND NOT ok"),
	qr/Dataset main asks for v\d+\.0 and is answered by v26\.0/, 'another version that answers is told')
  or diag($node->sql("SHOW capi.api_version"));
$node->sql("SELECT capi.alter_dataset('main', api_version => 'v16.0')");
like($node->sql("SELECT detail FROM capi.diagnose() WHERE \"check\" = 'api versions' AND NOT ok"),
	qr/v16\.0 of dataset main ended by 2025-05-14/, 'so is one that has ended');
$node->stop;
done_testing();
