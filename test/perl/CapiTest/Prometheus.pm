package CapiTest::Prometheus;

=pod

=head1 NAME

CapiTest::Prometheus - the real exporter beside a node, and a real Prometheus

=head1 SYNOPSIS

  my $watch = CapiTest::Prometheus->new($node);
  my $page = $watch->page;                    # what the exporter tells
  my $answer = $watch->ask('query', query => 'pg_up');
  $watch->until_true(sub { ... });

=head1 DESCRIPTION

The exporter asks as C<capi_exporter>, a role with the duty of a reader and nothing
else, with F<contrib/prometheus/queries.yaml>; Prometheus scrapes it each second and
has F<contrib/prometheus/rules.yaml>.  A test has no half hours, so nothing is cached
and no alert waits.

=cut

use strict;
use warnings;

use File::Temp;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(slurp_file append_to_file);

my @started;

sub new
{
	my ($class, $node) = @_;
	my $self = bless { folder => File::Temp->newdir, http => HTTP::Tiny->new(timeout => 10),
		exporter => PostgreSQL::Test::Cluster::get_free_port(), prometheus => PostgreSQL::Test::Cluster::get_free_port() }, $class;
	my $folder = $self->{folder};

	$node->sql("CREATE ROLE capi_exporter LOGIN; SELECT capi.grant_access('capi_exporter', 'reader')");
	append_to_file("$folder/queries.yaml", slurp_file('contrib/prometheus/queries.yaml') =~ s/cache_seconds: \d+/cache_seconds: 0/gr);
	append_to_file("$folder/rules.yaml", $self->rules =~ s/for: \w+/for: 0s/gr);
	$self->configure(1);

	local $ENV{DATA_SOURCE_NAME} = 'user=capi_exporter sslmode=disable dbname=shop host=' . $node->host . ' port=' . $node->port;
	$self->start('exporter', 'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$self->{exporter}",
		'--disable-default-metrics', '--disable-settings-metrics', '--no-collector.database', '--no-collector.bgwriter',
		"--extend.query-path=$folder/queries.yaml");
	$self->{server} = $self->start('prometheus', 'prometheus', "--config.file=$folder/prometheus.yaml",
		"--storage.tsdb.path=$folder/data", "--web.listen-address=127.0.0.1:$self->{prometheus}");
	return $self;
}

sub start
{
	my ($self, $name, @command) = @_;

	push @started, IPC::Run::start(\@command, '<', \undef, '>&', "$self->{folder}/$name.log");
	return $started[-1];
}

END
{
	local $?;
	$_->kill_kill(grace => 2) foreach @started;
}

=head1 METHODS

=head2 rules

The text of the rules as they are installed.

=cut

sub rules { return slurp_file('contrib/prometheus/rules.yaml') }

=head2 configure(seconds)

How often Prometheus scrapes, and how long it waits for the page.

=cut

sub configure
{
	my ($self, $seconds) = @_;
	my $folder = $self->{folder};

	unlink "$folder/prometheus.yaml";
	append_to_file("$folder/prometheus.yaml", <<"YAML");
global: {scrape_interval: ${seconds}s, scrape_timeout: ${seconds}s, evaluation_interval: 1s}
rule_files: ["$folder/rules.yaml"]
scrape_configs:
  - job_name: capi
    static_configs: [{targets: ["127.0.0.1:$self->{exporter}"]}]
YAML
	$self->{server}->signal('HUP') if $self->{server};
	return;
}

=head2 page

=cut

sub page
{
	my ($self) = @_;

	return $self->{http}->get("http://127.0.0.1:$self->{exporter}/metrics")->{content};
}

=head2 ask(what, name => value ...)

The data of an answer of Prometheus's API; undef when there is none.

=cut

sub ask
{
	my ($self, $what, %with) = @_;
	my $answer = $self->{http}->post_form("http://127.0.0.1:$self->{prometheus}/api/v1/$what", \%with);

	return $answer->{success} ? decode_json($answer->{content})->{data} : undef;
}

=head2 firing

The alerts that fire, by name.

=cut

sub firing
{
	my ($self) = @_;
	my $answer = $self->{http}->get("http://127.0.0.1:$self->{prometheus}/api/v1/alerts");

	return map { $_->{labels}{alertname} => 1 } grep { $_->{state} eq 'firing' }
	  $answer->{success} ? @{ decode_json($answer->{content})->{data}{alerts} } : ();
}

=head2 until_true(check)

=cut

sub until_true
{
	my ($self, $check) = @_;
	my $end = time + 60;

	select undef, undef, undef, 0.2 until $check->() || time > $end;
	return $check->();
}

=head2 CapiTest::Prometheus::meta_told(node)

As if Meta had told of each dataset counts, a score and the end of the token.

=cut

sub meta_told
{
	my ($node) = @_;

	$node->sql(q{
		SELECT capi._partition('meta_count', now() - interval '5 hours'), capi._partition('meta_score', now());
		INSERT INTO capi.meta_ask (dataset_id, question, asked_at, next_at, state, told_at, expires_at)
		SELECT d.id, q, now(), now() + '1 day', 'ok', now(), now() + '30 days' FROM capi.dataset d, unnest('{token,counts,quality}'::text[]) q
			ON CONFLICT (dataset_id, question) DO UPDATE SET expires_at = excluded.expires_at;
		INSERT INTO capi.meta_count (hour, dataset_id, event_name, counted)
		SELECT capi._hour(now() - interval '5 hours'), d.id, n, 7 FROM capi.dataset d, unnest('{"",Purchase}'::text[]) n;
		INSERT INTO capi.meta_score (asked_at, dataset_id, event_name, measure, value)
		SELECT now(), d.id, 'Purchase', 'match_quality', 6.2 FROM capi.dataset d});
	return;
}

1;
