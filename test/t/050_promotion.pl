# P3 and P4: a streaming standby sends nothing; promoted in the middle of a
# backlog, it sends what the shop there knows and is not known to be sent.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time usleep);
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $primary = CapiTest::Node->create('primary', sandbox => $sandbox, init => [ allows_streaming => 1 ],
	conf => "capi.request_timeout = '10min'\ncapi.linger = '1s'");
$primary->install_capi;
$primary->attach;
$primary->backup('base');
my $standby = CapiTest::Node->new('standby')->use_sandbox($sandbox);
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# --- a standby -----------------------------------------------------------------

my $log = $standby->log_size;
$primary->pay($primary->place_orders(30));
$primary->wait_until_idle;
$primary->wait_for_catchup($standby, 'replay');
$primary->deliveries_ok('P3: the primary sends');
is($standby->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'capi%'"), 0,
	'P4: a standby has no dispatcher and no launcher');
is($standby->sql("SELECT orders = delivered, missing FROM capi.reconcile('paid_orders', now() - interval '1 hour', 'infinity')"),
	't|0', 'P10: it counts orders like its primary');
is($standby->sql("SELECT status, count(*) FROM capi.delivery_status GROUP BY 1"), 'delivered|30',
	'P10: its views say what the primary did');
is($standby->sql(q{SELECT ok FROM capi.diagnose() WHERE "check" = 'identity'}), 't',
	'P4: it does not take itself for a copy');
like($standby->sql(q{SELECT detail FROM capi.diagnose() WHERE "check" = 'dispatcher' AND NOT ok}),
	qr/standby/, 'P10: diagnose() says what it is');
$primary->sql("SELECT capi.pause('paid_orders')");
$primary->pay($primary->place_orders(5));
$primary->wait_for_catchup($standby, 'replay');
like($standby->refuses('CALL capi.deliver()'), qr/ERROR:  25006: /, 'P4: nor does deliver() work there');
$primary->sql("SELECT capi.resume('paid_orders')");
$primary->wait_until_idle;
$primary->deliveries_ok('P5: each order once');

# --- promotion in mid-backlog ----------------------------------------------------

# Some are delivered, which the standby knows; some are, of which it only has the
# orders; and some orders it will never see.
$primary->pay($primary->place_orders(1200));
$primary->wait_until_idle;
$sandbox->misbehave(hang => JSON::PP::true(), times => undef);
my @unknown = $primary->place_orders(1550);
$primary->pay(@unknown);
$sandbox->wait_for(hanging => 2) or die;
$primary->wait_for_catchup($standby, 'replay');
$standby->stop;
$sandbox->release;
$primary->wait_for("SELECT count(*) = 1550 FROM capi.delivery_status"
	  . " WHERE status = 'delivered' AND order_key::int >= $unknown[0]") or die;
$primary->pay($primary->place_orders(3));
$sandbox->wait_for(hanging => 1) or die;
$primary->stop('immediate');
# the request of a client that is gone must not be let go
usleep(20_000) while $sandbox->hanging;
$sandbox->behave;
$sandbox->release;
$standby->start;
my $began = time;
$standby->promote;
$standby->dispatcher_pid;
cmp_ok(time - $began, '<', 10, 'P3: a dispatcher runs once promoted');
$standby->pay($standby->place_orders(10));
$standby->wait_until_idle;
is(scalar keys %{ $standby->committed }, 30 + 5 + 1200 + 1550 + 10, 'what was replicated is there');
$standby->deliveries_ok('P3 P5: after the promotion', max_repeats => scalar @unknown);
is($standby->sql("SELECT count(*) FROM capi.delivery_status WHERE status <> 'delivered'"), 0, 'P10: and on record');

done_testing();
