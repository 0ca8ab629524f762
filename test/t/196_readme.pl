# README.md, "First event": what stands there can be typed, and answers what
# stands there.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, databases => 'shop, readme');
$node->safe_psql('postgres', 'CREATE DATABASE readme');
my $shop = $node->in_database('readme');
my ($section) = slurp_file("$ENV{TESTDIR}/README.md") =~ /^## First event\n(.*?)^## /ms or die 'README.md has no first event';
my ($first, @statements) = $section =~ /^```sql\n(.*?)^```/gms;
my @shown = $section =~ /^```\nshop=# (.*?)^```/gms;

# --- the shop that the section speaks of -----------------------------------------------

$shop->sql(q{
CREATE TABLE orders (id bigserial PRIMARY KEY, status text, created_at timestamptz DEFAULT now(), email text, phone text, first_name text,
  city text, country text, total numeric(12, 2), currency text);
INSERT INTO orders (status, email, phone, first_name, city, country, total, currency)
VALUES ('paid', 'Anna@Shop.de', '0171 2345678', 'Änne', 'Köln', 'DE', 64.80, 'EUR'), ('pending', 'bob@shop.example', NULL, 'Bob', 'Bonn', 'DE', 12.50, 'EUR')});

# --- as it stands, but for the token and the endpoint ------------------------------------

my ($url, $token) = ($sandbox->url, 'sandbox-token');
ok($first =~ s{access_token_file => '[^']*'}{access_token => '$token', endpoint => '$url'}, 'a token of its own');
my ($stdout, $stderr);
$node->psql('readme', $first, stdout => \$stdout, stderr => \$stderr, on_error_die => 1);
my @notices = $stderr =~ /NOTICE:  (.*)/g;
is(@notices, 2, 'two notices') or diag $stderr;
like($notices[0], qr/event_source_url and no client_user_agent/, 'the page and the browser');
like($notices[1], qr/has a test_event_code/, 'and the code');
$shop->sql($_) foreach @statements;

foreach my $block (@shown)
{
	my ($query, $answer) = $block =~ /\A(.*?;)\n(.*)\z/s;
	my ($said) = substr($section, 0, index $section, $block) =~ /.*`(UPDATE [^`]*)`/s;

	$shop->sql($said) if defined $said;
	$shop->wait_until_idle if defined $said;
	is($node->safe_psql('readme', $query, extra_params => [ '-P', 'format=aligned', '-P', 'tuples_only=off', '-P', 'footer=off' ]) =~ s/ +$//mgr =~ s/\n+\z//r,
		$answer =~ s/ +$//mgr =~ s/\n+\z//r, $query);
}
is($shop->sql(q{SELECT state FROM capi.status WHERE "check" = 'sources'}), 'ok', 'the source works');
is($shop->sql(q{SELECT sentence FROM capi.status WHERE "check" = 'orders'}), 'Orders of the last 7 days: 2, of which 1 never captured.',
	'of the orders that were paid before, capi.status speaks');

done_testing();
