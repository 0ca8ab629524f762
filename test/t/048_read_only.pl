# What "read-only" means for the functions that a source's query calls: what they
# cannot do, and what they can (doc/security.md says so).
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

$node->install_capi;
$node->sql(q{
CREATE SEQUENCE shop.counter;
CREATE TABLE shop.note (what text);
CREATE FUNCTION shop.try(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE FUNCTION shop.tried() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(k || ' ' || shop.try(s), ', ' ORDER BY n) FROM (VALUES
        (1, 'insert', 'INSERT INTO shop.note VALUES (1)'),
        (2, 'temporary', 'CREATE TEMPORARY TABLE t ()'),
        (3, 'nextval', 'SELECT nextval(''shop.counter'')'),
        (4, 'setval', 'SELECT setval(''shop.counter'', 7)'),
        (5, 'writable', 'SET transaction_read_only = off'),
        (6, 'write file', 'COPY shop.note TO ''/tmp/capi_note'''),
        (7, 'listen', 'LISTEN something'),
        (8, 'notify', 'NOTIFY something, ''said'''),
        (9, 'notify by function', 'SELECT pg_notify(''something'', ''said'')')) AS v (n, k, s)
$$;
CREATE FUNCTION shop.large(key bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lo_create(900000 + key::int);
    RETURN 'made';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$}, 'shop_owner');

my $listener = $node->session;
$listener->sql('LISTEN something');

$node->attach(query => q{SELECT o.id AS key, o.paid_at AS event_time, shop.tried() || ', large object ' || shop.large(o.id) AS ignore_reason, 'a@b.de' AS em FROM shop.orders o});
my ($id) = $node->place_orders(1);
$node->pay($id);
$node->wait_until_idle;
my $said = $node->sql("SELECT reason FROM capi.delivery_status WHERE order_key = '$id'");
like($said, qr/insert 25006, temporary \w{5}, nextval 25006, setval 25006, writable \w{5}, write file \w{5}, listen \w{5}, notify done/,
	'in a reader: nothing of these can be done');
unlike($said, qr/(temporary|writable|listen) done/, 'nor those');
is($node->sql("SELECT count(*) FROM pg_largeobject_metadata WHERE oid > 900000"), $node->pg_version < 16 ? '1' : '0',
	'a large object can be made until the server knows better');
is($node->sql('SELECT (SELECT count(*) FROM shop.note) + (SELECT last_value FROM shop.counter)'), '1', 'nothing is left');
like($listener->sql('SELECT 1'), qr/something/, 'a notification is heard');

# in the caller's transaction it is as in any of his own
my $preview = $node->sql("SELECT reason FROM capi.preview('paid_orders', '$id')", 'shop_owner');
like($preview, qr/insert 25006, temporary \w{5}, nextval 25006, setval 25006/, 'in preview() likewise');
$listener->quit;

done_testing();
