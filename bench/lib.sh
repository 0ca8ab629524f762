# Shell functions shared by capture, drain and latency.  Sourced by bash.
#
# Makes a private cluster and a sink in a temporary directory and removes both
# at exit.  The server runs as the caller, or as "postgres" when that is root.

set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bindir=$("${PG_CONFIG:-pg_config}" --bindir)
PATH=$bindir:$PATH

# SQL that makes dataset and sources; another file tries the scripts without
# capi (PRELOAD= then keeps the library out of the cluster).
setup_sql=${SETUP_SQL:-$bench/capi.sql}
preload=${PRELOAD-capi}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/capi-bench.XXXXXX")
sink_pid=

as_server()
{
	if [ "$(id -u)" = 0 ]; then
		(cd "$tmp" && runuser -u postgres -- env PATH="$PATH" "$@")
	else
		"$@"
	fi
}

cleanup()
{
	[ -z "$sink_pid" ] || kill "$sink_pid" 2>/dev/null || true
	if [ -f "$tmp/data/postmaster.pid" ]; then
		as_server pg_ctl -D "$tmp/data" -m immediate stop >/dev/null || true
	fi
	if [ -n "${KEEP:-}" ]; then
		echo "kept $tmp" >&2
	else
		rm -rf "$tmp"
	fi
}
trap cleanup EXIT

fail()
{
	echo "$*" >&2
	[ ! -f "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
	exit 1
}

# ---- cluster ------------------------------------------------------------

# start_cluster [more settings]: database "bench", trusted local connections
start_cluster()
{
	chmod 755 "$tmp"
	[ "$(id -u)" != 0 ] || chown postgres "$tmp"
	as_server initdb -D "$tmp/data" -U postgres -A trust --no-sync \
		-E UTF8 --locale=C >/dev/null
	pg_port=$((20000 + $$ % 12000))
	as_server tee -a "$tmp/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = '127.0.0.1'
		port = $pg_port
		unix_socket_directories = '$tmp'
		shared_preload_libraries = '$preload'
		shared_buffers = ${SHARED_BUFFERS:-512MB}
		max_wal_size = 16GB
		checkpoint_timeout = 1h
		capi.databases = 'bench'
		capi.enabled = off
		capi.ca_file = '$tmp/cert.pem'
		${1:-}
	CONF
	as_server pg_ctl -D "$tmp/data" -l "$tmp/log" -w start >/dev/null ||
		fail "server did not start"
	export PGHOST=$tmp PGPORT=$pg_port PGUSER=postgres PGDATABASE=postgres
	export PGOPTIONS='-c client_min_messages=error'
	q "CREATE DATABASE bench"
	export PGDATABASE=bench
	postmaster=$(head -n 1 "$tmp/data/postmaster.pid")
}

# q SQL: unaligned result without header
q()
{
	psql -XAtq -F ' ' -v ON_ERROR_STOP=1 -c "$1"
}

# set_and_reload "capi.enabled = on"
set_and_reload()
{
	psql -XAtq -v ON_ERROR_STOP=1 -c "ALTER SYSTEM SET $1" \
		-c "SELECT pg_reload_conf()" >/dev/null
}

# run_setup: tables, dataset and sources
run_setup()
{
	psql -XAtq -v ON_ERROR_STOP=1 -f "$bench/orders.sql" >/dev/null
	psql -XAtq -v ON_ERROR_STOP=1 -v port="$sink_port" -f "$setup_sql" \
		>/dev/null
}

# ms SQL: milliseconds the statement took, as psql's \timing sees it
ms()
{
	psql -XAtq -v ON_ERROR_STOP=1 -c '\timing on' -c "$1" |
		sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

# tps SCRIPT CLIENTS SECONDS
tps()
{
	pgbench -n -M prepared -f "$1" -c "$2" -j "$2" -T "$3" 2>>"$tmp/pgbench" |
		sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# server_cpu: seconds used by the postmaster and all its children, past ones
# included
server_cpu()
{
	# processes may be gone before they are read
	{ cat /proc/[0-9]*/stat 2>/dev/null || true; } |
		awk -v pm="$postmaster" -v hz="$(getconf CLK_TCK)" '
			{ pid = $1; sub(/^.*\) /, "") }
			# the fields now start with state (1), ppid (2); utime is 12
			pid == pm { t += $12 + $13 + $14 + $15 }
			$2 == pm { t += $12 + $13 + $14 + $15 }
			END { printf "%.2f\n", t / hz }'
}

# dispatcher_pid: waits for it, empty when there is none
dispatcher_pid()
{
	local pid i

	for i in $(seq 100); do
		pid=$(q "SELECT pid FROM pg_stat_activity WHERE datname = 'bench'
				 AND backend_type LIKE 'capi%' LIMIT 1")
		[ -z "$pid" ] || break
		sleep 0.1
	done
	echo "$pid"
}

# own_kb PID: resident memory that is not shared buffers
own_kb()
{
	awk '/^Rss(Anon|File)/ { s += $2 } END { print s + 0 }' \
		"/proc/$1/status" 2>/dev/null || true
}

# ---- sink ---------------------------------------------------------------

# start_sink [RING]: sets sink_port, and cert.pem for capi.ca_file
start_sink()
{
	make -s -C "$bench" sink
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 2 -subj /CN=localhost -keyout "$tmp/key.pem" \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
		-out "$tmp/cert.pem" 2>/dev/null
	chmod 644 "$tmp/cert.pem"
	"$bench/sink" "$tmp/cert.pem" "$tmp/key.pem" "${1:-0}" >"$tmp/sink" &
	sink_pid=$!
	until sink_port=$(sed -n 's/^port //p' "$tmp/sink") &&
		[ -n "$sink_port" ]; do
		kill -0 "$sink_pid" || fail "sink did not start"
		sleep 0.05
	done
}

# sink_get PATH: plain http, which the same port speaks
sink_get()
{
	curl -sS --max-time "${WAIT_SECONDS:-1800}" \
		"http://127.0.0.1:$sink_port/$1"
}

# field NAME: a number out of the sink's JSON on stdin
field()
{
	sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

sink_cpu()
{
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/^.*\) /, "")
		printf "%.2f\n", ($12 + $13) / hz }' "/proc/$sink_pid/stat"
}

# ---- numbers ------------------------------------------------------------

# calc EXPRESSION [FORMAT]
calc()
{
	awk "BEGIN { printf \"${2:-%.3f}\", $1 }"
}

# median FORMAT < numbers
median()
{
	sort -g | awk -v f="${1:-%.3f}" '{ v[NR] = $1 }
		END { m = int((NR + 1) / 2)
			if (NR == 0) print "-"
			else printf f "\n", (v[m] + v[NR + 1 - m]) / 2 }'
}

# row TEXT VALUE AIM: one line of the report
row()
{
	printf '%-58s %12s  %s\n' "$1" "$2" "${3:-}"
}

heading()
{
	printf '\n%s\n' "$1"
	row "" measured aim
}

machine()
{
	printf '%s, %s cores, %s\n' "$(postgres --version)" "$(nproc)" \
		"$(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)"
}
