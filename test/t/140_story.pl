# capi.explain_event(): what happened to an order and what comes next, for each
# way that an order can take.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;
$node->sql("SELECT capi.grant_access('shop_app', 'reader')");

# The story without times and numbers that differ from run to run; as a reader.
sub story
{
	my ($order, $source) = @_;
	my $by = $source ? ", '$source'" : '';
	my $rows = $node->sql("SELECT step, detail FROM capi.explain_event('$order'$by)", 'shop_app');

	$rows =~ s/request \d+ with/request N with/g;
	$rows =~ s/after \d+ ms/after N ms/g;
	$rows =~ s/fbtrace_id A[\w-]+/fbtrace_id A…/g;
	$rows =~ s/\d{4}-\d\d-\d\d [\d:.+]+/TIME/g;
	return $rows;
}

my ($plain) = $node->place_orders(1);
$node->pay($plain);
$node->wait_until_idle;
is(story($plain), join("\n",
	"captured|status of shop.orders became paid",
	"sent|request N with 1 event(s) to dataset main: HTTP 200 after N ms, fbtrace_id A…",
	"delivered|Purchase with event_id $plain, worth 10.01 EUR",
	'context|none was known when the event was made',
	"pixel|capi.pixel_event('paid_orders', '$plain') gives Purchase with event_id $plain, unless the query tells it otherwise by now",
	"next|Nothing more is sent. A pixel call with the same event_id counts as the same event."), 'delivered at once');

# an outage: the first request is answered with 503
$sandbox->misbehave(status => 503, times => 1);
my ($late) = $node->place_orders(1);
$node->sql(qq{SELECT capi.set_context('$late', '{"fbp": "fb.1.1596403881668.1116446470", "client_ip_address": "192.0.2.7"}', 'paid_orders')});
$node->pay($late);
$node->wait_until_idle;
my @late = split /\n/, story($late);
is($late[0], 'captured|status of shop.orders became paid', 'an outage: captured');
like($late[1], qr/^sent\|request N with 1 event\(s\) to dataset main: HTTP 503/, 'sent, and refused');
like($late[2], qr/^retrying\|transient, error 1(, waits until TIME)?$/, 'had to wait');
like($late[3], qr/^sent\|.*HTTP 200/, 'sent again');
like($late[4], qr/^delivered\|/, 'and delivered');
is($late[5], 'context|used: fbp, client_ip_address', 'what of the browser was sent, by name');
unlike("@late", qr/fb\.1|192\.0\.2\.7/, 'and by nothing else');
my ($pixel_id) = $late[6] =~ /^pixel\|.* with event_id (\S+), /;
is($node->sql("SELECT capi.pixel_event('paid_orders', '$late') ->> 'event_id'", 'shop_owner'), $pixel_id, 'the pixel is given what the story says');

# one that Meta refuses, one that the query ignores
$sandbox->misbehave(match => { event_id => '3' }, code => 100, subcode => 2804008, times => undef);
my ($bad) = $node->place_orders(1);
is($bad, 3, 'the third order');
my ($test) = $node->place_orders(1);
$node->sql("UPDATE shop.orders SET is_test = true WHERE id = $test");
$node->pay($bad, $test);
$node->wait_until_idle;
$sandbox->behave;
like(story($bad), qr{^rejected\|.*error 100/2804008.*\ncontext\|none was.*\npixel\|capi\.pixel_event\('paid_orders', '3'\) gives Purchase with event_id 3, .*\nnext\|Mend what the reason says, then call capi\.redrive\(order_key => '3'\)\.\z}m,
	'rejected');
like(story($test), qr{^ignored\|test order.*\npixel\|capi\.pixel_event\('paid_orders', '4'\) gives nothing, as the server sends nothing\nnext\|It is looked at again when the order is captured again}m, 'ignored');

# what waits, and what for
$node->sql("SELECT capi.pause_dataset('main')");
my ($waiting) = $node->place_orders(1);
$node->pay($waiting);
$node->wait_for("SELECT count(*) = 1 FROM capi.backlog") or die;
like(story($waiting), qr{^next\|It waits until somebody calls capi\.resume_dataset\('main'\)\.\z}m, 'a paused dataset');
like(story($waiting), qr{^pixel\|capi\.pixel_event\('paid_orders', '$waiting'\) gives Purchase with event_id $waiting, unless the query}m, 'what the pixel is given meanwhile');
$node->sql("SELECT capi.pause('paid_orders')");
like(story($waiting), qr{^next\|It waits until somebody calls capi\.resume\('paid_orders'\)\.\z}m, 'a paused source');
$node->sql("SELECT capi.resume('paid_orders'); SELECT capi.resume_dataset('main')");
$node->wait_until_idle;

# never captured; forgotten; nonsense
my ($pending) = $node->place_orders(1);
is(story($pending), story($pending, 'paid_orders'), 'an order of which nothing is known: each source is asked');
like(story($pending, 'paid_orders'),
	qr{\Aattached\|It captures when status of shop\.orders became paid\.\nnext\|Nothing was captured of this order},
	'what a source says of it');
$node->sql("SELECT capi.forget('$late')");
is(story($late), "captured|status of shop.orders became paid\nforgotten|forgotten\nnext|It is not sent again.", 'forgotten: nothing but that');
like($node->refuses("SELECT * FROM capi.explain_event('1', 'nope')"), qr/42704.*source "nope" does not exist/s, 'an unknown source');
like($node->refuses('SELECT * FROM capi.explain_event(NULL)'), qr/22004.*order_key must not be null/s, 'no order');
like($node->refuses("SELECT * FROM capi.explain_event('1')", 'shop_owner') // 'no', qr/no|permission denied/, 'rights');

# a query that gives an id of its own, and all that the browser's context holds; an
# event that no query tells
$node->sql("CREATE TABLE shop.tickets (id int PRIMARY KEY); ALTER TABLE shop.tickets OWNER TO shop_owner");
$node->attach(source => 'tickets', table_name => 'shop.tickets', on_column => undef, on_values => undef,
	query => q{SELECT id AS key, now() AS event_time, 'T-' || id AS event_id, 'ann@example.com' AS em, 'fb.1.1596403881668.5' AS fbp, 1 AS value, 'EUR' AS currency FROM shop.tickets});
$node->sql(q{SELECT capi.set_context('77', '{"fbp": "fb.1.1596403881668.1116446470"}', 'tickets'); INSERT INTO shop.tickets VALUES (77)});
$node->sql(q{SELECT capi.send('main', '{"event_name": "Lead", "event_id": "form-17", "user_data": {"em": "ann@example.com"}}')});
$node->wait_until_idle;
like(story('77', 'tickets'), qr{^context\|nothing of it was used: the query gave all that it holds\npixel\|capi\.pixel_event\('tickets', '77'\) gives Purchase with event_id T-77, }m,
	'a context that was not needed, an id of the query');
is($node->sql("SELECT capi.pixel_event('tickets', '77') ->> 'event_id'", 'shop_owner'), 'T-77', 'which the pixel is given');
like(story('form-17'), qr{^delivered\|Lead with event_id form-17\npixel\|the page gives Lead with event_id form-17, to be the same event\nnext\|}m, 'an event of capi.send() has no context');

# each wait once, however often it is looked at; gone with its partition
is($node->sql('SELECT count(*) = count(DISTINCT (key, status, attempts, reason)) FROM capi.history'), 't', 'no wait is told twice');
is($node->sql("SELECT count(*) > 0 FROM capi.history WHERE key = '$waiting'"), 't', 'the wait for the dataset is told');

done_testing();
