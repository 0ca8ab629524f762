# shellcheck shell=bash
#
# server.sh
#	Sourced by test/run and test/demo/run: a private copy of the installed
#	server with this build of capi in it, and private clusters of that copy.
#
# Nothing is installed into the system and no port is opened: clusters listen
# on a socket in the work folder only.  The copy works because the server finds
# its other folders relative to its own binary.  Server processes never run as
# root: they run as "postgres" (or "nobody") when root calls, as the caller
# otherwise.
#
# Sets:  work     temporary folder, writable for run_as
#        bin      programs of the private copy
#        pgxs     folder with the server's test programs and Perl modules
#        python   a Python 3 that run_as can run

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pg_config=${PG_CONFIG:-pg_config}
work='' bin='' pgxs='' python=''
run_as=()			# prefix of a command of the unprivileged user
owner=''			# that user, when it is not the caller
clusters=()			# data folders of started clusters
helpers=()			# pids of other processes started here

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Runs a command as the unprivileged user, in the work folder.
as_user() {
	(cd "$work" && exec "${run_as[@]}" env HOME="$work" LC_ALL=C.UTF-8 "$@")
}

# The same in the background, to be ended by clean_up; $! is the process itself.
spawn_as_user() {
	(cd "$work" && exec "${run_as[@]}" env HOME="$work" LC_ALL=C.UTF-8 "$@") &
	helpers+=($!)
}

choose_user() {
	local user=postgres

	[ "$(id -u)" = 0 ] || return 0
	id "$user" >/dev/null 2>&1 || user=nobody
	# Not runuser: setpriv leaves no parent process in the way of signals.
	run_as=(setpriv "--reuid=$user" "--regid=$(id -gn "$user")" --init-groups)
	owner=$user
}

# A Python outside of root's reach is no use to the unprivileged user.
choose_python() {
	for python in /usr/bin/python3 "$(command -v python3)"; do
		as_user "$python" -c 'import ssl' 2>/dev/null && return
	done
	die "no python3 that an ordinary user can run"
}

# make_work_dir NAME: sockets live below it, so its path must stay short.
make_work_dir() {
	choose_user
	work=$(mktemp -d "/tmp/capi_$1.XXXXXX")
	chmod 755 "$work"
	[ -z "$owner" ] || chown "$owner" "$work"
	choose_python
}

# Links every entry of $1 into $2 that is not there yet.
link_rest() {
	local entry

	for entry in "$1"/*; do
		[ -e "$2/${entry##*/}" ] || ln -s "$entry" "$2/"
	done
}

# Lays out the private copy: capi's files and the server's programs for real,
# everything else by links.
install_private_server() {
	local root=$work/server dir

	make -s --no-print-directory -C "$top" install PG_CONFIG="$pg_config" \
		DESTDIR="$root" >"$work/install.log" 2>&1 ||
		{ cat "$work/install.log" >&2; die "make install failed"; }

	bin=$root$("$pg_config" --bindir)
	mkdir -p "$bin"
	cp -L "$("$pg_config" --bindir)"/* "$bin/"
	mv "$bin/initdb" "$bin/initdb.real"
	cp "$top/test/lib/initdb" "$bin/initdb"
	dir=$("$pg_config" --sharedir)
	link_rest "$dir/extension" "$root$dir/extension"
	link_rest "$dir" "$root$dir"
	dir=$("$pg_config" --pkglibdir)
	link_rest "$dir" "$root$dir"

	[ "$("$bin/pg_config" --sharedir)" = "$root$("$pg_config" --sharedir)" ] ||
		die "this server cannot be moved: '$("$pg_config" --bindir)' is fixed in it"
	pgxs=$(dirname "$("$pg_config" --pgxs)")/../..
	pgxs=$(cd "$pgxs" && pwd)
}

# Runs psql as superuser in the cluster of start_cluster.
sql() {
	as_user "$bin/psql" -XqAt -v ON_ERROR_STOP=1 "$@"
}

# start_cluster NAME: makes and starts a cluster with the settings on stdin,
# and points PGHOST, PGPORT, PGUSER at it.
start_cluster() {
	local data=$work/$1

	as_user "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 >"$work/initdb.log" 2>&1 ||
		{ cat "$work/initdb.log" >&2; die "initdb failed"; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$work'"
		echo "port = 5432"
		echo "shared_preload_libraries = 'capi'"
		# tests are about what happens, not about how patiently
		echo "capi.missing_wait = 0"
		echo "log_line_prefix = '%m [%p] %b %q%u@%d '"
		cat
	} | as_user tee -a "$data/postgresql.conf" >/dev/null
	as_user "$bin/pg_ctl" -D "$data" -l "$work/$1.log" -w -s start </dev/null ||
		{ tail -n 30 "$work/$1.log" >&2; die "the server does not start"; }
	clusters+=("$data")
	export PGHOST=$work PGPORT=5432 PGUSER=postgres
}

# Stops everything started here and removes the work folder; KEEP=1 leaves it.
clean_up() {
	local data pid

	set +e
	[ -n "$work" ] || return 0
	for data in "${clusters[@]}"; do
		as_user "$bin/pg_ctl" -D "$data" -m fast -s stop >/dev/null 2>&1 ||
			as_user "$bin/pg_ctl" -D "$data" -m immediate -s stop >/dev/null 2>&1
	done
	for pid in "${helpers[@]}"; do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$work"
	work=''
}
