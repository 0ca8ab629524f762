# P3 and P4: prepared transactions across restarts, crashes and the rotation of
# the queue's segments, and subtransactions by the hundred.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox, conf => "capi.poll_interval = '100ms'");
$node->install_capi;
$node->attach;

sub prepare
{
	my ($name, @ids) = @_;

	$node->sql('BEGIN; ' . $node->pay_statement(@ids) . "; PREPARE TRANSACTION '$name'", 'shop_app');
	return;
}

# What is committed is paid in the shop's table, so this waits for the right set.
sub delivered_ok
{
	my ($name) = @_;

	$sandbox->wait_for(distinct_events => scalar keys %{ $node->committed });
	$node->wait_until_idle;
	$node->deliveries_ok($name);
	return;
}

# --- across restarts -----------------------------------------------------------

my @ids = $node->place_orders(12);
prepare("stays_$_", $ids[$_]) foreach 0 .. 3;
$node->pay($ids[8]);
delivered_ok('P4: prepared is not committed');
$node->stop('fast');
$node->start;
$node->sql("COMMIT PREPARED 'stays_0'");
$node->sql("ROLLBACK PREPARED 'stays_1'");
delivered_ok('P3 P4: one half committed, one rolled back after a restart');
prepare("crash_$_", $ids[$_]) foreach 4 .. 5;
$node->stop('immediate');
$node->start;
$node->sql("COMMIT PREPARED '$_'") foreach qw(stays_2 crash_4);
$node->sql("ROLLBACK PREPARED '$_'") foreach qw(stays_3 crash_5);
delivered_ok('P3 P4: and after a crash');

# committed, and the server dies before anybody could have looked
prepare("blink_$_", $ids[$_]) foreach 6 .. 7;
$node->change('capi.enabled' => 'off');
$node->wait_for(q{SELECT NOT ok FROM capi.diagnose() WHERE "check" = 'enabled' AND detail ~ 'dispatcher'}) or die;
$node->sql("COMMIT PREPARED 'blink_6'");
$node->stop('immediate');
$node->start;
$node->change('capi.enabled' => 'on');
delivered_ok('P3: committed just before a crash');
$node->sql("COMMIT PREPARED 'blink_7'");
delivered_ok('P3: and just after it');

# --- a thousand rows in one ------------------------------------------------------

my @many = $node->place_orders(1500);
prepare('many', @many);
$node->stop('immediate');
$node->start;
$node->sql("COMMIT PREPARED 'many'");
delivered_ok('P3: a prepared transaction of 1,500 orders and a crash');

# --- across rotations ----------------------------------------------------------

# orders that are not to be sent fill the queue
sub fill
{
	$node->sql("INSERT INTO shop.orders (total, email, is_test, status, paid_at)"
		  . " SELECT 1, 'test\@example.com', true, 'paid', now() FROM generate_series(1, 35000)");
	return;
}

sub segment_now
{
	return $node->sql('SELECT segment FROM capi.state');
}

sub blocks
{
	my ($segment) = @_;

	return $node->sql("SELECT pg_relation_size('capi.queue_$segment') / 8192");
}

prepare('long', $ids[9]);
prepare('longer', $ids[10]);
my $first = segment_now();
fill();
ok($node->wait_for("SELECT segment <> $first FROM capi.state"), 'the queue turns to another segment');
my $second = segment_now();
$node->stop('immediate');
$node->start;
fill();
ok($node->wait_for("SELECT segment NOT IN ($first, $second) FROM capi.state"), 'and to a third one');
ok($node->wait_for("SELECT pg_relation_size('capi.queue_$second') = 0"), 'P12: the second one is truncated');
cmp_ok(blocks($first), '>', 0, 'P3: the first one is not: it has rows of prepared transactions');
$node->sql("COMMIT PREPARED 'long'");
delivered_ok('P3: prepared before two rotations and a crash');
cmp_ok(blocks($first), '>', 0, 'P3: one more is open');
$node->sql("ROLLBACK PREPARED 'longer'");
ok($node->wait_for("SELECT pg_relation_size('capi.queue_$first') = 0"), 'P12: then the first one is truncated, too');
delivered_ok('P4: rolled back after two rotations');

# --- subtransactions -------------------------------------------------------------

# more of them than a snapshot has room for, while others commit
my @subs = $node->place_orders(400);
my $list = 'ARRAY[' . join(', ', @subs) . ']';
my $session = $node->session;
$session->sql('BEGIN');
$session->sql(qq{
DO \$\$
DECLARE
	ids bigint[] := $list;
BEGIN
	FOR i IN 1 .. cardinality(ids) LOOP
		BEGIN
			UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id = ids[i];
			-- three in four are rolled back, and half of those come again
			IF i % 4 <> 0 THEN
				RAISE 'no';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			IF i % 2 = 0 THEN
				BEGIN
					BEGIN
						UPDATE shop.orders SET status = 'paid', paid_at = now() WHERE id = ids[i];
					EXCEPTION WHEN division_by_zero THEN NULL;
					END;
				EXCEPTION WHEN division_by_zero THEN NULL;
				END;
			END IF;
		END;
	END LOOP;
END \$\$});
$node->pay($node->place_orders(1)) foreach 1 .. 3;
delivered_ok('P4: four hundred subtransactions that are open');
$session->sql('COMMIT');
is($node->sql("SELECT count(*) FROM shop.orders WHERE status = 'paid' AND id = ANY ($list)"), 200,
	'half of them took place');
delivered_ok('P3 P4: and committed');

# the outer one is rolled back after the inner ones were released
my @nested = $node->place_orders(30);
$session->sql('BEGIN');
$session->sql("SAVEPOINT a$_; " . $node->pay_statement($nested[$_])) foreach 0 .. 9;
$session->sql("RELEASE a$_") foreach reverse 6 .. 9;
$session->sql('ROLLBACK TO a5');
$session->sql($node->pay_statement($nested[10]));
$session->sql("SAVEPOINT b$_; " . $node->pay_statement($nested[$_])) foreach 11 .. 19;
$session->sql('ROLLBACK TO b15; RELEASE b12');
$session->sql("PREPARE TRANSACTION 'nested'");
$node->stop('immediate');
$node->start;
$node->sql("COMMIT PREPARED 'nested'");
is($node->sql("SELECT count(*) FROM shop.orders WHERE status = 'paid' AND id IN (" . join(', ', @nested) . ')'), 10,
	'ten of twenty took place');
delivered_ok('P3 P4: nested savepoints, prepared, and a crash');

done_testing();
