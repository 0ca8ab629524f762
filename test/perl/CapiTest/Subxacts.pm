package CapiTest::Subxacts;

=pod

=head1 NAME

CapiTest::Subxacts - counts the subtransactions of a session, or refuses them

=head1 SYNOPSIS

  CapiTest::Subxacts::install($node);
  $session->sql('SELECT subxacts.begun()');       # from here on
  $session->sql('INSERT ...');
  is($session->sql('SELECT subxacts.begun()'), 0);
  $session->sql('SELECT subxacts.refuse(true)');

=head1 DESCRIPTION

Builds F<test/lib/subxacts.c>, an extension that hears of subtransactions as
those of distributed executors do, and makes its functions in the node's database.

=cut

use strict;
use warnings;

use File::Basename;
use File::Spec;

use PostgreSQL::Test::Utils qw(system_or_bail);

my $SOURCE = File::Spec->rel2abs(dirname(__FILE__) . '/../../lib/subxacts.c');

sub install
{
	my ($node) = @_;
	my $library = PostgreSQL::Test::Utils::tempdir() . '/subxacts.so';

	system_or_bail('cc', '-O1', '-shared', '-fPIC', '-I', $ENV{CAPI_PG_INCLUDE}, '-o', $library, $SOURCE);
	$node->sql("CREATE SCHEMA subxacts; GRANT USAGE ON SCHEMA subxacts TO PUBLIC;"
		  . " CREATE FUNCTION subxacts.begun() RETURNS int LANGUAGE c AS '$library';"
		  . " CREATE FUNCTION subxacts.refuse(bool) RETURNS void LANGUAGE c AS '$library'");
	return;
}

1;
