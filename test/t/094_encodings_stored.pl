# Texts cross between the encoding of the database and UTF-8 once, both ways:
# keys, ids, reasons, names, JSON, contexts and problems; what is stored can be
# read, and restored.
use strict;
use warnings;

use Encode qw(decode encode);
use JSON::PP;
use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $main = CapiTest::Node->create('main', sandbox => $sandbox, preload => 0);
my %word = (LATIN1 => "Gr\x{fc}n", WIN1251 => "\x{417}\x{430}\x{43a}\x{430}\x{437}",
	EUC_JP => "\x{6ce8}\x{6587}", SQL_ASCII => "Gr\x{fc}n", UTF8 => "\x{6ce8}\x{fc}");
my $number = 5000;

foreach my $encoding (qw(LATIN1 WIN1251 EUC_JP SQL_ASCII UTF8))
{
	my $database = lc "shop_$encoding";
	my $text = $word{$encoding};
	my $utf8 = encode('UTF-8', $text);
	my $client = $encoding eq 'SQL_ASCII' ? '' : "SET client_encoding = 'UTF8';";
	my $dataset = ++$number;
	my $escaped = join '', map { sprintf '\\u%04x', ord } split //, $text;

	$main->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	my $node = $main->in_database($database, dataset_id => $dataset);
	my $sql = sub { $node->sql($client . $_[0]) };

	$sql->('CREATE EXTENSION capi');
	$node->create_dataset(name => 'main');
	$node->create_dataset(name => 'x', dataset_id => $dataset + 100);
	$sql->("UPDATE capi.dataset SET name = '$utf8' WHERE name = 'x'");
	$sql->(qq{CREATE TABLE orders (id text PRIMARY KEY, other_id text, reason text, dataset text, extra json, bad text);
		SELECT capi.attach('$utf8', 'orders', 'main', event_name => '$utf8', query => \$\$
			SELECT id AS key, now() AS event_time, 'a\@b.de' AS em, 'EUR' AS currency, 5 AS value, bad AS ph,
			       other_id AS event_id, reason AS ignore_reason, dataset, extra AS custom_data FROM orders\$\$)});
	$sql->(qq{INSERT INTO orders SELECT id, other_id, reason, dataset, extra::json, bad FROM (VALUES
			('$utf8-1', NULL, NULL, NULL, NULL, NULL), ('$utf8-2', 'id $utf8', NULL, NULL, NULL, NULL),
			('$utf8-3', NULL, 'why $utf8', NULL, NULL, NULL), ('$utf8-4', NULL, NULL, '$utf8', NULL, NULL),
			('$utf8-5', NULL, NULL, NULL, '{"word": "$utf8", "other": "$escaped", "$utf8": 1}', NULL),
			('$utf8-6', NULL, NULL, NULL, NULL, 'no phone $utf8')) AS v (id, other_id, reason, dataset, extra, bad)});
	$sql->(qq{SELECT capi.set_context('$utf8-1', '{"client_user_agent": "$utf8"}')});
	$sql->(qq{SELECT capi.send('main', '{"event_name": "$utf8", "event_id": "sent $utf8", "action_source": "other", "user_data": {"em": "a\@b.de"}}')});
	$sql->('CALL capi.deliver()');

	my %event = map { decode('UTF-8', encode('UTF-8', $_->{event_id})) => $_->{event} }
	  ($sandbox->events(dataset => $dataset), $sandbox->events(dataset => $dataset + 100));
	is_deeply([ sort keys %event ],
		[ sort "$text-1", "id $text", "$text-4", "$text-5", "$text-6", "sent $text" ], "$encoding: ids of events");
	is($event{"$text-1"}{event_name}, $text, "$encoding: the name of an event");
	is($event{"$text-1"}{user_data}{client_user_agent}, $text, "$encoding: a context");
	is($event{"$text-5"}{custom_data}{word}, $text, "$encoding: a json column");
	is($event{"$text-5"}{custom_data}{other}, $text, "$encoding: written with escapes");
	is($event{"$text-5"}{custom_data}{$text}, 1, "$encoding: the name of a property");
	is($event{"sent $text"}{event_name}, $text, "$encoding: capi.send()");
	is($sql->("SELECT string_agg(concat_ws('|', order_key, event_id, event_name, status, reason), E'\\n' ORDER BY order_key)"
			  . " FROM capi.delivery_status WHERE source = '$utf8'"),
		join("\n", "$utf8-1|$utf8-1|$utf8|delivered", "$utf8-2|id $utf8|$utf8|delivered",
			"$utf8-3|$utf8-3|$utf8|ignored|why $utf8",
			map { "$utf8-$_|$utf8-$_|$utf8|delivered" } 4 .. 6),
		"$encoding: what is stored reads as it was");
	is($sql->("SELECT dataset FROM capi.delivery_status WHERE order_key = '$utf8-4'"), $utf8,
		"$encoding: the name of a dataset");
	is($sql->("SELECT event_id FROM capi.preview('$utf8', '$utf8-3'), LATERAL (SELECT reason AS event_id) r"), "why $utf8",
		"$encoding: preview() gives the reason");

	# an attempt that is repeated has the same id
	$sandbox->misbehave(match => { event_id => "$utf8-7" }, status => 503);
	$sql->("INSERT INTO orders SELECT '$utf8-7', NULL UNION ALL SELECT '$utf8-8', 'again $utf8'");
	$sandbox->misbehave(match => { event_id => "again $utf8" }, status => 503);
	$sql->('CALL capi.deliver()');
	$sql->('UPDATE capi.backlog SET next_attempt_at = now()');
	$sandbox->behave;
	for (1 .. 100)
	{
		$sql->('CALL capi.deliver()');
		last if $sql->('SELECT count(*) FROM capi.backlog') == 0;
		$sql->('UPDATE capi.backlog SET next_attempt_at = now()');
	}
	%event = map { decode('UTF-8', encode('UTF-8', $_->{event_id})) => 1 } $sandbox->events(dataset => $dataset);
	ok($event{"$text-7"} && $event{"again $text"}, "$encoding: also after another attempt");

	my $dump = $main->basedir . "/$database.sql";
	$main->command_ok([ 'pg_dump', '-d', $main->connstr($database), '-f', $dump ], "$encoding: dumped");
	$main->safe_psql('postgres', "CREATE DATABASE copy_$database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$main->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-d', $main->connstr("copy_$database"), '-f', $dump ],
		"$encoding: restored");
}

$main->stop;
done_testing();
