package CapiTest::World;

=pod

=head1 NAME

CapiTest::World - a server with another clock, or with a disk that is full

=head1 SYNOPSIS

  my $world = CapiTest::World->new;
  my $node = CapiTest::Node->create('main', sandbox => $sandbox, start => 0);
  $world->start($node);
  $node->create_shop;
  $world->set(clock => 3600);
  $world->set(full => ['pg_wal/']);
  $world->set;                          # all is well

=head1 DESCRIPTION

Builds F<test/lib/world.c> and starts servers with it.  Their processes see the
clock so many seconds ahead, and cannot make files larger whose path has one of
the parts in C<full>.

=cut

use strict;
use warnings;

use File::Basename;
use File::Spec;

use PostgreSQL::Test::Utils qw(system_or_bail);

my $SOURCE = File::Spec->rel2abs(dirname(__FILE__) . '/../../lib/world.c');

sub new
{
	my ($class) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { library => "$dir/world.so", file => "$dir/world" }, $class;

	system_or_bail('cc', '-O1', '-shared', '-fPIC', '-o', $self->{library}, $SOURCE, '-ldl');
	PostgreSQL::Test::Utils::append_to_file($self->{file}, pack('q a1016', 0, ''));
	return $self;
}

=pod

=head1 METHODS

=over

=item $world->start($node)

Starts the server in this world.

=item $world->set(clock => $seconds, full => [@parts])

From now on; what is not given is as usual.

=back

=cut

sub start
{
	my ($self, $node, %options) = @_;

	local $ENV{LD_PRELOAD} = $self->{library};
	local $ENV{CAPI_TEST_WORLD} = $self->{file};
	return $node->start(%options);
}

sub set
{
	my ($self, %world) = @_;

	open my $file, '+<', $self->{file} or die;
	syswrite $file, pack('q a1016', $world{clock} // 0, join ' ', @{ $world{full} // [] });
	close $file;
	return;
}

1;
