# capi.test_dataset(): what one request tells of token, connection and version.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;

sub checks
{
	my ($arguments) = @_;

	return $node->sql(qq{SELECT "check", ok FROM capi.test_dataset($arguments)});
}

is(checks("'main'"), "token|t\nconnection|t\ncredentials|t\nversion|t", 'a token that works, without an event');
is(scalar(() = $sandbox->events), 0, 'no event was sent');
is(checks("'main', 'TEST123'"), "token|t\nconnection|t\ncredentials|t\nversion|t\ntest event|t", 'with a test event');
my ($event) = $sandbox->events;
is($event->{event}{event_name}, 'CapiTest', 'it arrives');
like($node->sql(q{SELECT detail FROM capi.test_dataset('main', 'TEST123') WHERE "check" = 'test event'}),
	qr/accepted with code TEST123; trace id \w+/, 'and its trace id is told');

$sandbox->post('tokens', { revoke => ['sandbox-token'] });
is(checks("'main'"), "token|t\nconnection|t\ncredentials|f\nversion|t", 'a token that was revoked');
my $detail = $node->sql(q{SELECT detail FROM capi.test_dataset('main') WHERE NOT ok});
like($detail, qr/HTTP 40\d, code 190/, 'with the code');
unlike($detail, qr/sandbox-token/, 'P8: and without the token');

$sandbox->post('tokens', { add => ['sandbox-token'] });
$sandbox->misbehave(status => 400, code => 2635);
is(checks("'main'"), "token|t\nconnection|t\ncredentials|f\nversion|f", 'a version that was retired');

$node->sql("SELECT capi.alter_dataset('main', endpoint => 'https://127.0.0.1:9')");
is(checks("'main'"), "token|t\nconnection|f", 'nobody there');
$node->sql("SELECT capi.create_dataset('empty', '1')");
is(checks("'empty'"), 'token|f', 'no token');
like($node->refuses("SELECT * FROM capi.test_dataset('nowhere')"), qr/ERROR:  42704: .*HINT: /s, 'an unknown dataset');
like($node->refuses("SELECT * FROM capi.test_dataset('main', 'a b')"), qr/ERROR:  22023: .*DETAIL: /s, 'a code that is none');

done_testing();
