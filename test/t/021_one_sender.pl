# P5: only one sends, and what is under way ends as it began.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0);

$node->install_capi;
$node->sql(q{
CREATE TABLE shop.gate (is_open boolean);
INSERT INTO shop.gate VALUES (true);
CREATE FUNCTION shop.pass(word text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_unlock_all();
    WHILE NOT (SELECT is_open FROM shop.gate) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN word;
END $$;
CREATE TABLE shop.letters (id int PRIMARY KEY, at timestamptz DEFAULT now());
}, 'shop_owner');

sub query { my ($word) = @_; return "SELECT l.id AS key, l.at AS event_time, shop.pass('$word') AS ignore_reason FROM shop.letters l" }
sub gate { $node->sql('UPDATE shop.gate SET is_open = ' . ($_[0] ? 'true' : 'false'), 'shop_owner'); return }
sub look { return $node->sql("SELECT order_key, status, reason FROM capi.delivery_status ORDER BY order_key::int") }
sub letter { $node->sql("INSERT INTO shop.letters VALUES ($_[0])", 'shop_owner'); return }
sub reading { return $node->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'capi reader' AND wait_event = 'PgSleep'") }

$node->attach(source => 'letters', table_name => 'shop.letters', on_column => undef, on_values => undef, query => query('old'));

# a second one is refused at once, whatever the query of the first one unlocks
my $one = $node->session;
my $pid = $one->pid;
letter(1);
gate(0);
$one->send('CALL capi.deliver()');
reading() or die;
my ($ret, $out, $err) = $node->psql('shop', 'CALL capi.deliver()');
like($err, qr/another process is already delivering/, 'P5: a second one is refused');
is(look(), '1|queued|', 'P5: and has read nothing');
gate(1);
is($one->answer, '', 'P5: the first one ends well');
is(look(), '1|ignored|old', 'P5: what it read is recorded');

# others can lock what they like
my $hostile = $node->session(role => 'shop_app');
$hostile->sql('SELECT pg_advisory_lock(1667330153, 1936027236), pg_advisory_lock(0), pg_advisory_lock(1, 1)');
letter(2);
$node->sql('CALL capi.deliver()');
is(look(), "1|ignored|old\n2|ignored|old", "P9: nobody else's locks keep it from delivering");
$hostile->quit;

# a cancel: the order is still there, and the lock is given back
letter(3);
gate(0);
$one->send('CALL capi.deliver()');
reading() or die;
$node->sql("SELECT pg_cancel_backend($pid)");
like($one->answer, qr/canceling statement/, 'P12: a cancel is served while a reader works');
ok($node->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'capi reader'"), 'P12: its reader ends with it');
gate(1);
$node->sql('CALL capi.deliver()');
is((split /\n/, look())[2], '3|ignored|old', 'P3: the order is delivered by the next one');

# changed while orders are read: what is under way ends as it began
letter(4);
gate(0);
$one->send('CALL capi.deliver()');
reading() or die;
$node->sql("SELECT capi.alter_source('letters', query => \$q\$" . query('new') . "\$q\$)", 'shop_owner');
letter(5);
gate(1);
is($one->answer, '', 'P6: a source is changed meanwhile');
$node->sql('CALL capi.deliver()');
is(join(' ', (split /\n/, look())[3, 4]), '4|ignored|old 5|ignored|new', 'P6: each order by one query or the other');

# detached while orders are read
letter(6);
gate(0);
$one->send('CALL capi.deliver()');
reading() or die;
my $admin = $node->session(role => 'shop_owner');
$admin->send("SELECT capi.detach('letters')");
$node->wait_for("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE query LIKE '%detach%' AND pid <> pg_backend_pid()");
gate(1);
is($admin->answer, '', 'P1: detach waits for the query that reads the table');
is($one->answer, '', 'P1: and the delivery ends well');
letter(7);
$node->sql('CALL capi.deliver()');
my @last = (split /\n/, look());
is(scalar @last, 6, 'P1: nothing is captured any more');
like($last[5], qr/^6\|ignored\|(new|source detached)$/, 'P10: the last order has its outcome');
$_->quit foreach $one, $admin;

done_testing();
