package CapiTest::Points;

=pod

=head1 NAME

CapiTest::Points - stops a process of a node at a place in capi's code

=head1 SYNOPSIS

  use CapiTest::Points;

  my $points = CapiTest::Points->new($node);
  $points->want('recording outcomes: before commit');
  $node->pay($node->place_orders(3));
  my $pid = $points->stopped or die;
  kill 'KILL', $pid;
  $points->let_go;

=head1 DESCRIPTION

F<test/run> gives a file with the line C<use CapiTest::Points> a server whose
capi was built with the places that F<src/base/test_point.h> tells of.  The
first process that comes to the one that is wanted stays there.

=cut

use strict;
use warnings;

use PostgreSQL::Test::Utils qw(slurp_file);
use Time::HiRes qw(time usleep);

sub new
{
	my ($class, $node) = @_;

	return bless { dir => $node->data_dir }, $class;
}

=pod

=head1 METHODS

=over

=item $points->want($name)

The next process that comes to that place stops there.

=cut

sub want
{
	my ($self, $name) = @_;

	$self->let_go;
	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/capi_test_new", $name);
	rename "$self->{dir}/capi_test_new", "$self->{dir}/capi_test_point" or die;
	return;
}

=pod

=item $points->stopped($timeout_s)

The process that has stopped; waits for it, and returns nothing after a time.

=cut

sub stopped
{
	my ($self, $timeout_s) = @_;
	my $end = time + ($timeout_s // 30);

	while (!-e "$self->{dir}/capi_test_pid")
	{
		return if time > $end;
		usleep(5_000);
	}
	return slurp_file("$self->{dir}/capi_test_pid");
}

=pod

=item $points->then($name)

Whoever stopped goes on, to that place; what was done meanwhile is behind it.

=cut

sub then
{
	my ($self, $name) = @_;

	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/capi_test_new", $name);
	rename "$self->{dir}/capi_test_new", "$self->{dir}/capi_test_point" or die;
	unlink map { "$self->{dir}/capi_test_$_" } qw(pid stopped);
	return;
}

=pod

=item $points->count_looks, $points->looks

From now on the looks of the dispatcher for work are counted; how many there
were.

=cut

sub count_looks
{
	my ($self) = @_;

	unlink "$self->{dir}/capi_test_looks";
	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/capi_test_looks", '');
	return;
}

sub looks { return -s "$_[0]{dir}/capi_test_looks" }

=pod

=item $points->let_go

Whoever stopped goes on; nobody else stops.

=back

=cut

sub let_go
{
	my ($self) = @_;

	unlink map { "$self->{dir}/capi_test_$_" } qw(point pid stopped);
	return;
}

1;
