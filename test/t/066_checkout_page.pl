# examples/checkout-page in a real browser: what its script posts, and the
# pixel's call it makes, against what the server sends for the same order.
use strict;
use warnings;
use utf8;

use IPC::Open2;
use JSON::PP;
use Test::More;
use Time::HiRes qw(usleep);

use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $PAGE = "$ENV{TESTDIR}/examples/checkout-page";
my $folder = PostgreSQL::Test::Utils::tempdir();
my $posted = "$folder/posted.jsonl";
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);

# a stand-in for the pixel, that writes down how it was called
my $STUB = q{<script>
window.fbq = function () {
	var pre = document.createElement('pre');
	pre.className = 'fbq';
	pre.textContent = JSON.stringify(Array.prototype.slice.call(arguments));
	document.body.appendChild(pre);
};
</script>};

$node->install_capi;
$node->sql("SELECT capi.grant_access('shop_app', 'writer')");
$node->sql('ALTER TABLE shop.orders ADD sku text, ADD title text', 'shop_owner');
$node->attach(query => q{
SELECT o.id AS key, o.paid_at AS event_time, o.total AS value, o.currency, o.email AS em,
       o.id::text AS order_id, jsonb_build_array(o.sku) AS content_ids, o.title AS content_name,
       jsonb_build_array(jsonb_build_object('id', o.sku, 'quantity', 1, 'item_price', o.total)) AS contents
  FROM shop.orders o WHERE o.status = 'paid'});

mkdir "$folder/www" or die "cannot make a folder: $!";
append_to_file("$folder/www/page.js", slurp_file("$PAGE/page.js"));
open2(my $server_out, my $server_in, $ENV{CAPI_PYTHON} || 'python3', '-B',
	"$ENV{TESTDIR}/test/shops/page_server.py", "$folder/www", $posted);
chomp(my $port = <$server_out> // die 'the page server did not start');

# The page as the web tier would fill it in, read by Chromium: the document
# that is left when its scripts have run.
sub browse
{
	my ($name, $pixel_event) = @_;
	my $html = slurp_file("$PAGE/index.html");
	my ($dom, $err);

	$html =~ s/<!-- the base code .*?-->/$STUB/ or die 'no place for the base code';
	$html =~ s/(id="capi-purchase">)null</$1$pixel_event</ or die 'no place for the call';
	append_to_file("$folder/www/$name", $html);
	# nothing but loopback has a name, so nothing leaves this machine
	IPC::Run::run([ 'chromium', '--headless', '--no-sandbox', '--disable-gpu',
			'--disable-dev-shm-usage', '--no-first-run', '--disable-extensions',
			'--disable-background-networking', '--disable-component-update',
			'--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
			"--user-data-dir=$folder/profile", '--virtual-time-budget=5000', '--dump-dom',
			"http://127.0.0.1:$port/$name?step=1&q=%22" ],
		'<', \undef, '>', \$dom, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  or die "chromium failed (it is in ci/packages.txt): $err";
	utf8::decode($dom);
	return $dom;
}

# The calls of the pixel that the document tells of.
sub calls
{
	my ($dom) = @_;
	my %entity = (lt => '<', gt => '>', amp => '&', nbsp => "\x{A0}", quot => '"');
	my @calls = $dom =~ m{<pre class="fbq">(.*?)</pre>}gs;

	return map { JSON::PP->new->decode(s/&(\w+);/$entity{$1}/gr) } @calls;
}

# --- before the payment ------------------------------------------------------

my @ids = $node->place_orders(3);
my $dom = browse('before.html', 'null');
is_deeply([ calls($dom) ], [], 'null is no call of the pixel');

my $end = time + $PostgreSQL::Test::Utils::timeout_default;
usleep(50_000) until -s $posted || time > $end;
my $post = decode_json((split /\n/, slurp_file($posted))[0]);
my $context = decode_json($post->{body});
is_deeply($context, {
		fbp => 'fb.1.1700000000000.1098115397',
		fbc => 'fb.1.1700000000001.IwAR-x_Y09',
		client_user_agent => $post->{user_agent},
		event_source_url => "http://127.0.0.1:$port/before.html?step=1&q=%22" },
	'the page posts its cookies as they are, the browser and its address');
is("$post->{path} $post->{type}", '/capi/context application/json', 'to where it is told to');

# what the web tier does with it, word for word from the README
my $readme = slurp_file("$PAGE/README.md");
my ($set_context) = $readme =~ /(SELECT capi\.set_context\(.*?;)/s;
my ($pixel_event) = $readme =~ /(SELECT coalesce\(capi\.pixel_event\(.*?;)/s;
$pixel_event =~ s/'orders'/'paid_orders'/;

sub call_sql
{
	my ($statement, @arguments) = @_;
	my $types = join(', ', ('text') x @arguments);
	my $values = join(', ', map { "'" . s/'/''/gr . "'" } @arguments);

	return $node->sql("PREPARE call ($types) AS $statement\nEXECUTE call ($values)", 'shop_app');
}

my $address = '203.0.113.9';		# of the connection, if this were not loopback

call_sql($set_context, $ids[0], $post->{body}, $address);

# --- after the payment -------------------------------------------------------

my %evil = (
	sku => q{x</script><script>document.title='owned'</script>},
	title => qq{<!--<script> "double" 'single' \\ &lt;&quot; \x{2028}\x{2029}\nend});
# references of HTML are decoded before anything is sent
my %sent = map { $_ => $evil{$_} =~ s/&lt;/</r =~ s/&quot;/"/r } keys %evil;
my %inert = map { $_ => $sent{$_} =~ tr/<\x{2028}\x{2029}/\x{2039}\x{2027}\x{2027}/r } keys %sent;

is(call_sql($pixel_event, $ids[0]), 'null', 'an order that is not paid has no call');
$node->sql("UPDATE shop.orders SET sku = 'MUG', title = 'A mug' WHERE id = $ids[0]");
my $literal = join(', ', map { "$_ = '" . $evil{$_} =~ s/'/''/gr . "'" } sort keys %evil);
utf8::encode($literal);
$node->sql("UPDATE shop.orders SET $literal WHERE id = $ids[1]");
$node->pay(@ids[ 0, 1 ]);
$node->wait_until_idle;
my %event = map { $_->{event_id} => $_->{event} } $sandbox->events;

is_deeply({ map { $_ => $event{ $ids[0] }{user_data}{$_} } qw(fbp fbc client_user_agent client_ip_address) },
	{ %$context{qw(fbp fbc client_user_agent)}, client_ip_address => $address },
	'the server sends what the page posted');
is($event{ $ids[0] }{event_source_url}, $context->{event_source_url}, 'and the page');

$dom = browse('after.html', call_sql($pixel_event, $ids[0]));
is_deeply([ calls($dom) ],
	[ [ 'track', 'Purchase', $event{ $ids[0] }{custom_data}, { eventID => $event{ $ids[0] }{event_id} } ] ],
	'the pixel is called once, with the id and the data that the server sends');

# --- values that would like to be script -------------------------------------

is($event{ $ids[1] }{custom_data}{content_name}, $sent{title}, 'the server sends values as they are meant');
$dom = browse('evil.html', call_sql($pixel_event, $ids[1]));
my @calls = calls($dom);
is(scalar @calls, 1, 'the page still works');
is($calls[0][3]{eventID}, $event{ $ids[1] }{event_id}, 'with the server\'s id');
is($calls[0][2]{content_name}, $inert{title}, 'quotes, backslash and ampersand arrive, the rest is inert');
is_deeply($calls[0][2]{content_ids}, [ $inert{sku} ], 'in every value');
like($dom, qr{<title>Thank you</title>}, 'nothing in them is run');

close $server_in;
done_testing();
