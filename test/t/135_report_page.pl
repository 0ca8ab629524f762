# capi.report_html() in a real browser: its numbers are those of capi.reconcile(),
# nothing sticks out on a desktop or a phone, and nothing is fetched.
use strict;
use warnings;
use utf8;

use JSON::PP;
use Test::More;
use Time::HiRes qw(usleep);

use CapiTest::Node;
use CapiTest::Sandbox;
use PostgreSQL::Test::Utils;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
my $long = 'x' x 300;
my $evil = qq{</td><script>document.title='owned'</script><img src="http://192.0.2.1/key">$long};

$node->install_capi;
$node->attach;
$node->sql(q{
CREATE TABLE shop.tickets (number text PRIMARY KEY, at timestamptz, price numeric, currency text, note text);
CREATE INDEX ON shop.tickets (at)}, 'shop_owner');
$node->attach(
	source => "tickets $evil" =~ s/x{200}.*//r =~ s/.{62}\K.*//r,
	table_name => 'shop.tickets',
	on_column => undef,
	on_values => undef,
	query => q{SELECT number AS key, at AS event_time, price AS value, currency, note AS ignore_reason,
	                  number || '@example.com' AS em FROM shop.tickets});

# a week of orders of some currencies, some not sent, some never captured
$node->pay($node->place_orders(3));
my $literal = "'" . $evil =~ s/'/''/gr . "'";
$node->sql(qq{
INSERT INTO shop.tickets SELECT 't' || n, now() - n * interval '3 hours', 12345.67 * n, (ARRAY['EUR', 'USD', 'JPY'])[1 + n % 3],
       CASE n % 5 WHEN 0 THEN $literal END FROM generate_series(1, 50) n;
ALTER TABLE shop.tickets DISABLE TRIGGER capi_capture;
INSERT INTO shop.tickets VALUES ($literal, now() - interval '1 day', 9876543210.99, 'EUR', NULL);
ALTER TABLE shop.tickets ENABLE TRIGGER capi_capture}, 'shop_owner');
$node->wait_until_idle;

# --- the page, as it is and with a script that measures it -----------------------

my $page = $node->sql('SELECT capi.report_html()', 'shop_owner');
my $MEASURE = q{<script>
addEventListener('load', function () {
	var wide = document.documentElement.clientWidth, out = [], rows = [];
	document.querySelectorAll('main *').forEach(function (e) {
		var r = e.getBoundingClientRect();
		if (r.width > 1 && (r.right > wide + 0.5 || r.left < -0.5 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && getComputedStyle(e).overflow !== 'visible'))
			out.push(e.tagName + '.' + e.getAttribute('class') + ' ' + r.left + '-' + r.right);
	});
	document.querySelectorAll('.source').forEach(function (s) {
		s.querySelectorAll('.ledger tbody tr').forEach(function (tr) {
			rows.push([s.querySelector('h2').textContent].concat([].map.call(tr.cells, function (c) { return c.textContent; })));
		});
	});
	parent.postMessage({width: wide, scroll: document.documentElement.scrollWidth, out: out, rows: rows,
		title: document.title, images: document.images.length,
		fetched: performance.getEntriesByType('resource').map(function (e) { return e.name; }),
		heights: [].map.call(document.querySelectorAll('.plot [class^=fill]'), function (e) { return e.getBoundingClientRect().height; })}, '*');
});
</script>};
my $measured = $page =~ s{<meta http-equiv.*?>}{}r =~ s{</head>}{$MEASURE</head>}r;
my $frame = q{<body><script>
addEventListener('message', function (m) {
	var pre = document.createElement('pre');
	pre.textContent = JSON.stringify(m.data);
	document.body.appendChild(pre);
});
</script><iframe src="measured.html" width=WIDTH height=900></iframe>};

sub put
{
	my ($name, $text) = @_;

	utf8::encode($text) if utf8::is_utf8($text);
	open my $fh, '>', "$folder/$name" or die "$name: $!";
	print $fh $text;
	close $fh;
	return;
}

put('page.html', $page);
put('measured.html', $measured);
put("$_.html", $frame =~ s/WIDTH/$_/r) foreach 1280, 360;

my ($port_text, $requests) = ('', '');
my $server = IPC::Run::start([ $ENV{CAPI_PYTHON} || 'python3', '-u', '-m', 'http.server', '0',
		'--bind', '127.0.0.1', '--directory', $folder ],
	'<', \undef, '>', \$port_text, '2>', \$requests);
my $end = time + $PostgreSQL::Test::Utils::timeout_default;
until ($port_text =~ /port (\d+)/ || time > $end)
{
	$server->pump_nb;
	usleep(20_000);
}
my ($port) = $port_text =~ /port (\d+)/ or die "no web server: $requests";

sub browse
{
	my ($name) = @_;
	my ($dom, $err);

	# nothing but loopback has a name, so nothing leaves this machine
	IPC::Run::run([ 'chromium', '--headless', '--no-sandbox', '--disable-gpu',
			'--disable-dev-shm-usage', '--no-first-run', '--disable-extensions',
			'--disable-background-networking', '--disable-component-update',
			'--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
			"--user-data-dir=$folder/profile", '--virtual-time-budget=5000', '--dump-dom',
			"http://127.0.0.1:$port/$name" ],
		'<', \undef, '>', \$dom, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  or die "chromium failed (it is in ci/packages.txt): $err";
	utf8::decode($dom);
	return $dom;
}

my %entity = (lt => '<', gt => '>', amp => '&', quot => '"', nbsp => "\x{A0}");
my $reconcile = $node->sql(q{
SELECT json_agg(json_build_array(source, to_char(bucket, 'Dy FMDD Mon'), currency, orders::text, delivered::text, waiting::text, ignored::text,
                                 rejected::text, expired::text, missing::text, order_value, delivered_value) ORDER BY source, bucket, currency)
  FROM capi.reconciliation}, 'shop_owner');
my $counted = JSON::PP->new->allow_bignum->decode($reconcile);

foreach my $width (1280, 360)
{
	my ($json) = browse("$width.html") =~ m{<pre>(.*?)</pre>}s or die "the page told nothing at $width";
	my $found = JSON::PP->new->decode($json =~ s/&(\w+);/$entity{$1}/gr);
	my @rows = map { [ map { s/\x{202F}//gr =~ s/\x{2212}/-/gr } @$_ ] } @{ $found->{rows} };

	cmp_ok($found->{width}, '<=', $width, "$width pixels: as wide as the screen");
	is($found->{scroll}, $found->{width}, "$width pixels: the page does not scroll sideways");
	is_deeply($found->{out}, [], "$width pixels: nothing sticks out");
	is_deeply($found->{fetched}, [], "$width pixels: nothing is fetched");
	is("$found->{title} $found->{images}", 'Orders and what Meta was told 0', "$width pixels: nothing of the shop's is run or loaded");
	cmp_ok(scalar @rows, '>', 8, "$width pixels: there are rows");
	is_deeply([ map { my @r = @$_; $_ += 0 foreach @r[ 10, 11 ]; \@r } @rows ],
		[ map { my @r = @$_; $r[$_] = "$r[$_]" + 0 foreach 10, 11; \@r } @$counted ],
		"$width pixels: the numbers are those of capi.reconcile()");
	cmp_ok((sort { $b <=> $a } @{ $found->{heights} })[0], '>', 100, "$width pixels: the columns are drawn");
}

# as it is: one request, and the text of the shop is text
$server->pump_nb;
my $before = () = $requests =~ /GET /g;
my $dom = browse('page.html');
usleep(100_000), $server->pump_nb until $requests =~ /page\.html/ || time > $end;
my $gets = () = $requests =~ /GET /g;
is($gets - $before, 1, 'the page alone is asked for');
like($dom, qr{<title>Orders and what Meta was told</title>}, 'and runs nothing');
unlike($page, qr/<(script|img|link|iframe|object)|<[^>]*\s(src|href|on\w+)=|\@import|url\((?!#)/i, 'nothing in it could');
like($page, qr/&lt;\/td&gt;&lt;script&gt;/, 'what the shop said is shown');
$server->kill_kill;

done_testing();
