# Triggers of capi: one without a rule is said; beside Citus they do not depend
# on the extension, which leaves the shop's tables working all the same.
use strict;
use warnings;

use Test::More;
use CapiTest::Node;
use CapiTest::Sandbox;

my $sandbox = CapiTest::Sandbox->new;
my $node = CapiTest::Node->create('main', sandbox => $sandbox);
$node->install_capi;
$node->attach;

sub check
{
	my ($check) = @_;

	return $node->sql("SELECT ok, detail FROM capi.diagnose() WHERE \"check\" = '$check'");
}

like(check('triggers'), qr/^t/, 'all is well');
$node->sql('CREATE TABLE shop.restored (id int); CREATE TRIGGER capi_capture AFTER INSERT ON shop.restored'
	  . ' FOR EACH ROW EXECUTE FUNCTION capi.capture(); INSERT INTO shop.restored VALUES (1)');
like(check('captures'), qr/^f\|1 rows could not be noted/, 'P10: a row whose trigger has no rule counts as missed');
like(check('triggers'), qr/^f\|.*shop\.restored/, 'P10: and the table is named');
$node->sql('DROP TABLE shop.restored');

# what Citus asks for, without Citus: dependencies of type "x"
sub dependent
{
	return $node->sql(q{SELECT count(*) FROM pg_depend d JOIN pg_trigger t ON t.oid = d.objid
		WHERE d.classid = 'pg_trigger'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'x'});
}

is(dependent(), '1', 'DROP EXTENSION takes the trigger along');
# a row of the catalog is all that is asked for
$node->sql("INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
	  . " VALUES (99999, 'citus', 10, 'pg_catalog'::regnamespace, false, '1')");
$node->sql(q{SELECT capi.alter_source('paid_orders')}, 'shop_owner');
is(dependent(), '0', 'beside Citus it does not depend on the extension');
like($node->refuses('DROP EXTENSION capi'), qr/2BP01/, 'which then takes CASCADE');
$node->sql('SET client_min_messages = error; DROP EXTENSION capi CASCADE');
my ($id) = $node->place_orders(1);
$node->pay($id);
is($node->sql("SELECT status FROM shop.orders WHERE id = $id"), 'paid', 'P12: the shop goes on');
$node->sql("DELETE FROM pg_extension WHERE extname = 'citus'");

$node->stop;
done_testing();
