# Values as shops have them, all of them: whatever is made of them or left out,
# the sandbox, which refuses what Meta refuses, takes every order, in batches
# with the others.
use strict;
use warnings;

use File::Basename qw(dirname);
use Cwd qw(abs_path);
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $vectors = dirname(abs_path(__FILE__)) . '/../pgtap/vectors';
my @fields = qw(ph zp external_id order_id subscription_id content_ids db lead_id page_id
	fb_login_id num_items opt_out data_processing_options_country fbp fbc fbclid client_user_agent
	referrer_url event_source_url client_ip_address madid ctwa_clid fn ln ct st name ge
	content_name content_category search_string);
my $columns = join ",\n", map { "       CASE field WHEN '$_' THEN input END AS $_" } @fields;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->sql('CREATE TABLE shop.valued (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, field text,'
	  . ' their_country text, input text, normalised text, why text)', 'shop_owner');
$node->attach(source => 'valued', table_name => 'shop.valued', on_column => undef, on_values => undef,
	query => "SELECT id AS key, now() AS event_time,
       coalesce(CASE field WHEN 'em' THEN input END, 'a' || id || '\@b.de') AS em,
       coalesce(CASE field WHEN 'country' THEN input END, their_country) AS country,
       coalesce(CASE field WHEN 'value' THEN input END, '1') AS value, 'EUR' AS currency,
$columns
  FROM shop.valued");

foreach my $file (qw(numbers browser entities countries))
{
	$node->sql("COPY shop.valued (field, their_country, input, normalised, why) FROM '$vectors/$file.tsv'");
}
$node->sql("COPY shop.valued (field, input, normalised, their_country, why) FROM '$vectors/lists.tsv'");
$node->wait_until_idle;

my $n = $node->sql('SELECT count(*) FROM shop.valued');
cmp_ok($n, '>', 800, 'all the values were bought with');
is($node->sql(q(SELECT string_agg(field || ': ' || input || ' ' || coalesce(d.reason, d.status), E'\n')
	FROM shop.valued v LEFT JOIN capi.delivery_status d ON d.order_key = v.id::text
	WHERE d.status IS DISTINCT FROM 'delivered')), '', 'every order was delivered');
is($sandbox->stats->{events}, $n, 'and received');
is(scalar(grep { $_->{outcome} eq 'refused' } $sandbox->requests), 0, 'no request was refused');
is($sandbox->stats->{internal_errors}, 0, 'and the sandbox is well');

done_testing();
