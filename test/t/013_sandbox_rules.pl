# What capi keeps back because Meta would refuse it, the sandbox, which knows
# nothing of capi, refuses too: every reason has a partner.  First with local
# checks, when nothing reaches the endpoint; then the same events without.
use strict;
use warnings;

use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $SCHEMA = 2804019;
my $DAY = 86400;

my @extinfo = ('i2', 'com.shop', '1.0', '1.0', '17.1', ('') x 11);
my @flags = (advertiser_tracking_enabled => 1, application_tracking_enabled => 0);
my @app = (action_source => 'app', event_name => 'Purchase', @flags, extinfo => \@extinfo);
my @message = (action_source => 'business_messaging', event_name => 'Purchase');

# reason, the sandbox's subcode, and what makes the event bad or, before it,
# different from a purchase in a web shop; undef takes a column away
my @cases = (
	[ no_event_time => $SCHEMA, event_time => undef ],
	[ too_old => 2804003, event_time => -8 * $DAY ],
	[ too_old => 2804003, action_source => 'physical_store', event_time => -63 * $DAY ],
	[ in_the_future => 2804004, event_time => 7200 ],
	[ no_event_name => $SCHEMA, event_name => '' ],
	[ unknown_action_source => $SCHEMA, action_source => 'shop' ],
	[ no_customer_data => 2804050, em => undef ],
	[ no_customer_data => 2804050, em => undef, ct => 'Berlin', country => 'de', client_user_agent => 'x' ],
	[ no_customer_data => 2804050, em => undef, db => '1970-01-31', client_user_agent => 'x' ],
	[ no_customer_data => 2804050, em => undef, fn => 'Jane', ge => 'f' ],
	[ no_customer_data => 2804050, em => undef, ln => 'Doe', ge => 'f' ],
	[ no_value => 2804009, value => undef ],
	[ no_currency => 2804010, currency => undef ],
	[ no_currency => 2804023, event_name => 'AddToCart', currency => undef ],
	[ no_tracking_flags => $SCHEMA, @app, advertiser_tracking_enabled => undef ],
	[ no_tracking_flags => $SCHEMA, @app, application_tracking_enabled => undef ],
	[ bad_extinfo => 2804043, @app, extinfo => undef ],
	[ bad_extinfo => 2804043, @app, extinfo => [ @extinfo[ 0 .. 14 ] ] ],
	[ bad_extinfo => 2804043, @app, extinfo => [ '', @extinfo[ 1 .. 15 ] ] ],
	[ bad_extinfo => 2804043, @app, extinfo => [ @extinfo[ 0 .. 3 ], ' ', @extinfo[ 5 .. 15 ] ] ],
	[ no_messaging_channel => $SCHEMA, @message, page_id => '12' ],
	[ no_page_id => 2804069, @message, messaging_channel => 'messenger' ],
	[ no_ig_account_id => 2804079, @message, messaging_channel => 'instagram' ],
	[ no_ctwa_clid => 2804087, @message, messaging_channel => 'whatsapp', page_id => '12' ],
	[ no_page_or_whatsapp_id => 2804116, @message, messaging_channel => 'whatsapp', ctwa_clid => 'x' ]);

# what is near each of them and good
my @good = (
	[],
	[ event_time => -7 * $DAY + 600 ],
	[ action_source => 'physical_store', event_time => -62 * $DAY + 600 ],
	[ em => undef, ct => 'Berlin', fn => 'Jane' ],
	[ event_name => 'Lead', value => undef, currency => undef ],
	[@app],
	[ @message, messaging_channel => 'messenger', page_id => '12' ],
	[ @message, messaging_channel => 'instagram', ig_account_id => '34' ],
	[ @message, messaging_channel => 'whatsapp', page_id => '12', ctwa_clid => 'x' ],
	[ @message, messaging_channel => 'whatsapp', whatsapp_business_account_id => '5', ctwa_clid => 'x' ]);

my $query = q{
SELECT id AS key, (m->>'event_time')::bigint AS event_time, m->>'event_name' AS event_name,
       m->>'action_source' AS action_source, m->>'em' AS em, m->>'ct' AS ct, m->>'country' AS country,
       m->>'db' AS db, m->>'fn' AS fn, m->>'ln' AS ln, m->>'ge' AS ge,
       m->>'client_user_agent' AS client_user_agent, (m->>'value')::numeric AS value,
       m->>'currency' AS currency, m->>'advertiser_tracking_enabled' AS advertiser_tracking_enabled,
       m->>'application_tracking_enabled' AS application_tracking_enabled,
       CASE WHEN m ? 'extinfo' THEN ARRAY(SELECT jsonb_array_elements_text(m->'extinfo')) END AS extinfo,
       m->>'messaging_channel' AS messaging_channel, m->>'page_id' AS page_id,
       m->>'ig_account_id' AS ig_account_id, m->>'ctwa_clid' AS ctwa_clid,
       m->>'whatsapp_business_account_id' AS whatsapp_business_account_id
  FROM shop.happening};

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->sql('CREATE TABLE shop.happening (id text PRIMARY KEY, m jsonb NOT NULL)', 'shop_owner');
$node->attach(source => 'happenings', table_name => 'shop.happening', on_column => undef,
	on_values => undef, query => $query);

# Writes the event and waits for its end; times are offsets from now.
sub happen
{
	my ($id, %changes) = @_;
	my %members = (event_time => 0, event_name => 'Purchase', action_source => 'website',
		em => 'jane@example.com', value => 12.5, currency => 'EUR', %changes);

	$members{event_time} += time if defined $members{event_time};
	delete @members{ grep { !defined $members{$_} } keys %members };
	my $json = encode_json(\%members) =~ s/'/''/gr;
	$node->sql("INSERT INTO shop.happening VALUES ('$id', '$json')", 'shop_owner');
	$node->wait_until_idle;
	return;
}

sub outcome
{
	my ($id) = @_;

	return $node->sql('SELECT status, reason, error_code, error_subcode FROM capi.delivery_status'
		  . " WHERE order_key = '$id'");
}

# Not by a reload: there is no telling when the dispatcher has seen it.
sub set_local_checks
{
	my ($switch) = @_;

	$node->append_conf('postgresql.conf', "capi.local_checks = $switch");
	$node->restart;
	return;
}

# Calls code with an id for each case, and the case.
sub each_case
{
	my ($prefix, $code) = @_;

	foreach my $n (0 .. $#cases)
	{
		my ($reason, $subcode, @changes) = @{ $cases[$n] };

		$code->("$prefix-$n", $reason, $subcode, @changes);
	}
	return;
}

# with local checks: kept back, for the reason, and nothing is sent
each_case(
	kept => sub {
		my ($id, $reason, $subcode, @changes) = @_;

		happen($id, @changes);
		like(outcome($id), qr/^(rejected|expired)\|$reason\|/, "$id: kept back, $reason");
	});
is($sandbox->stats->{requests}, 0, 'none of them reached the endpoint');

# without: sent, and refused there
set_local_checks('off');
each_case(
	sent => sub {
		my ($id, $reason, $subcode, @changes) = @_;

		happen($id, @changes);
		my @requests = $sandbox->requests(event_id => $id);
		is(join(' ', map { "$_->{outcome} $_->{code}/$_->{subcode}" } @requests),
			"refused 100/$subcode", "$id: the sandbox refuses it, $reason");
		like(outcome($id), qr/^rejected\|.*\|100\|$subcode$/, "$id: and capi takes its word");
	});
is($sandbox->stats->{events}, 0, 'none was accepted');

# the sandbox is no naysayer
foreach my $switch ('off', 'on')
{
	set_local_checks($switch);
	foreach my $n (0 .. $#good)
	{
		happen("good-$switch-$n", @{ $good[$n] });
		like(outcome("good-$switch-$n"), qr/^delivered\|/, "good event $n, local checks $switch");
	}
}
is($sandbox->stats->{events}, 2 * @good, 'all of them were accepted');
is($sandbox->stats->{internal_errors}, 0, 'and the sandbox is well');

done_testing();
