# A custom audience follows its query: people, hashed, are added and removed at
# Meta, and nothing but what changed is sent.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox,
	conf => "capi.poll_interval = '500ms'");
my $list = '777';

sub audience { return $sandbox->get('audiences')->{audiences}{$list} // {} }

sub rows
{
	return [ sort map { join ' ', map { $_ } %$_ } @{ audience()->{rows} // [] } ];
}

sub is_in_step
{
	my ($name) = @_;

	return ok($node->wait_for("SELECT state = 'ok' AND waiting = 0 AND last_refresh >= a.asked_at"
			  . " FROM capi.audience_status JOIN capi.audience a ON a.name = audience"), $name)
	  || diag($node->sql('SELECT * FROM capi.audience_status'));
}

sub refresh
{
	my ($name) = @_;

	$node->sql("SELECT capi.refresh_audience('buyers')", 'shop_owner');
	return is_in_step($name);
}

sub users { return grep { $_->{call} eq 'users' } $sandbox->requests }

$node->install_capi;
$node->sql(q{
CREATE TABLE shop.customers (id int PRIMARY KEY, email text, consent boolean);
INSERT INTO shop.customers VALUES (1, ' Ann@Example.com', true), (2, 'ben@example.com', true),
    (3, 'cyd@example.com', false), (4, 'dan@example.com', NULL), (5, 'not an address', true)}, 'shop_owner');
$node->sql(qq{SELECT capi.create_audience(name => 'buyers', dataset => 'main', audience_id => '$list',
    query => 'SELECT id AS key, email AS em, consent FROM customers')}
	  =~ s/customers/shop.customers/r, 'shop_owner');
ok($node->wait_for("SELECT state = 'ok' AND members = 2 FROM capi.audience_status"), 'a new audience is read and sent')
  or diag($node->sql('SELECT * FROM capi.audience_status'));
is_deeply(rows(), [ sort map { "EMAIL " . sha256_hex($_) } 'ann@example.com', 'ben@example.com' ],
	'those who consented are at Meta, by their hashes');
is($node->sql('SELECT added, removed, no_consent, unusable, invalid, waiting FROM capi.audience_status'),
	'2|0|2|1|0|0', 'what was done is counted');
is($node->sql("SELECT p->>'field', p->>'problem', p->>'rows', p->'keys' FROM capi.audience_status,"
		. " jsonb_array_elements(problems) p WHERE p->>'field' = ''"),
	'|nothing that says who it is|1|["5"]', 'and who could not be used is named');

my @sessions = @{ audience()->{sessions} };
is(scalar @sessions, 1, 'one session');
ok($sessions[0]{ended}, 'which ended');

# nothing changed: nothing is sent
my $before = users();
refresh('read again');
is(scalar users(), $before, 'nothing is sent when nothing changed');

# one goes, one comes, one consents, one has another address
$node->sql(q{
DELETE FROM shop.customers WHERE id = 1;
INSERT INTO shop.customers VALUES (6, 'eve@example.com', true);
UPDATE shop.customers SET consent = true WHERE id = 3;
UPDATE shop.customers SET email = 'benjamin@example.com' WHERE id = 2}, 'shop_owner');
refresh('people changed');
is_deeply(rows(), [ sort map { "EMAIL " . sha256_hex($_) } 'benjamin@example.com', 'cyd@example.com', 'eve@example.com' ],
	'the list follows');
is(scalar users(), $before + 2, 'by one request for those who went, and one for those who came');
is($node->sql('SELECT members, added, removed FROM capi.audience_status'), '3|3|2', 'counted');

# no raw value anywhere in the tables (P7)
is($node->sql("SELECT count(*) FROM capi.audience_member m WHERE encode(m.cells, 'escape') ~ 'example'"), '0',
	'P7: no address is kept');

# all keys
$node->sql(q{ALTER TABLE shop.customers ADD COLUMN born date DEFAULT '1970-02-03'}, 'shop_owner');
$node->sql(q{SELECT capi.alter_audience('buyers', query => $$
    SELECT email AS em, '+49 170 1234567' AS ph, 'Ann Smith' AS name, 'f' AS ge, born AS db, 'Berlin' AS ct,
           'BE' AS st, '10115' AS zp, 'DE' AS country, id AS external_id, true AS consent
      FROM shop.customers WHERE id = 6 $$)}, 'shop_owner');
ok($node->wait_for("SELECT state = 'ok' AND waiting = 0 AND members = 1 FROM capi.audience_status"), 'another query');
my $row = audience()->{rows}[0];
my %expected = (EMAIL => 'eve@example.com', PHONE => '491701234567', FN => 'ann', LN => 'smith', GEN => 'f',
	DOBY => '1970', DOBM => '02', DOBD => '03', CT => 'berlin', ST => 'be', ZIP => '10115', COUNTRY => 'de',
	EXTERN_ID => '6');
is_deeply($row, { map { $_ => sha256_hex($expected{$_}) } keys %expected }, 'every key is as Meta wants it');
is(audience()->{invalid}, 0, 'Meta found no row that is none');

# dropped: its people are forgotten here, and stay at Meta
$node->sql("SELECT capi.drop_audience('buyers')", 'shop_owner');
ok($node->wait_for('SELECT count(*) = 0 FROM capi.audience_member'), 'a dropped audience is forgotten');
ok($node->wait_for('SELECT count(*) = 0 FROM capi.audience_state'), 'with its state');
is(audience()->{members}, 1, 'the list at Meta stays');
done_testing();
