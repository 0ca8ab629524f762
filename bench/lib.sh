# shellcheck shell=bash
#
# lib.sh
#	Shell functions shared by the measurements: a private cluster of a private
#	copy of the server (test/lib/server.sh), the sink, and small arithmetic.
#
# KEEP=1 leaves the cluster running and the work folder in place.

set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/server.sh
. "$bench/../test/lib/server.sh"

sink_port=''
sink_pid=''
postmaster=''
tmp=''						# results of this run

finish() {
	if [ -n "${KEEP:-}" ]; then
		say "kept: PGHOST=${PGHOST:-} PGUSER=postgres, work folder $work"
	else
		clean_up
	fi
}
trap finish EXIT

# Says why, and what the server said last.
fail() {
	say "$*" >&2
	tail -n 20 "$work/bench.log" >&2 || true
	exit 1
}

# --- cluster -----------------------------------------------------------------

# start_bench [SETTINGS [RING]]: sink and cluster with the database "bench",
# its tables, dataset and sources; delivery is off
start_bench() {
	make_work_dir bench
	tmp=$(mktemp -d "$work/run.XXXXXX")
	install_private_server
	PATH=$bin:$PATH
	start_sink "${2:-0}"
	start_cluster bench <<-CONF
		shared_buffers = ${SHARED_BUFFERS:-512MB}
		max_wal_size = 16GB
		checkpoint_timeout = 1h
		capi.databases = 'bench'
		capi.enabled = off
		capi.ca_file = '$work/cert.pem'
		${1:-}
	CONF
	postmaster=$(head -n 1 "$work/bench/postmaster.pid")
	export PGOPTIONS='-c client_min_messages=error' PGDATABASE=postgres
	q "CREATE DATABASE bench"
	PGDATABASE=bench
	psql -XAtq -v ON_ERROR_STOP=1 -v port="$sink_port" \
		-f "$bench/orders.sql" -f "$bench/capi.sql" >/dev/null
	say "$(postgres --version), $(nproc) cores," \
		"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
}

# q SQL: unaligned result without header
q() {
	psql -XAtq -F ' ' -v ON_ERROR_STOP=1 -c "$1"
}

# set_and_reload "capi.enabled = on"
set_and_reload() {
	psql -XAtq -v ON_ERROR_STOP=1 -c "ALTER SYSTEM SET $1" \
		-c "SELECT pg_reload_conf()" >/dev/null
}

# ms SQL...: milliseconds each statement took, as psql's \timing sees it
ms() {
	local statement args=()
	for statement; do
		args+=(-c "$statement")
	done
	psql -XAtq -v ON_ERROR_STOP=1 -c '\timing on' "${args[@]}" |
		sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

# tps SCRIPT CLIENTS SECONDS
tps() {
	pgbench -n -M prepared -f "$1" -c "$2" -j "$2" -T "$3" 2>>"$tmp/pgbench" |
		sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# server_cpu: seconds used by the postmaster and all its children, past ones
# included
server_cpu() {
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
dispatcher_pid() {
	local pid

	for _ in $(seq 100); do
		pid=$(q "SELECT pid FROM pg_stat_activity WHERE datname = 'bench'
				 AND backend_type = 'capi dispatcher'")
		[ -z "$pid" ] || break
		sleep 0.1
	done
	echo "$pid"
}

# own_kb PID: resident memory that is not shared buffers
own_kb() {
	awk '/^Rss(Anon|File)/ { s += $2 } END { print s + 0 }' \
		"/proc/$1/status" 2>/dev/null || true
}

# --- sink ---------------------------------------------------------------------

# start_sink RING: sets sink_port, and makes cert.pem for capi.ca_file
start_sink() {
	local tries=0

	make -s --no-print-directory -C "$bench" sink
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 2 -subj /CN=localhost -keyout "$tmp/key.pem" \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
		-out "$work/cert.pem" 2>/dev/null
	chmod 644 "$work/cert.pem"
	"$bench/sink" "$work/cert.pem" "$tmp/key.pem" "$1" >"$tmp/sink" &
	sink_pid=$!
	helpers+=("$sink_pid")
	until [ -s "$tmp/sink" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "the sink does not start"
		sleep 0.05
	done
	sink_port=$(sed -n 's/^port //p' "$tmp/sink")
}

# sink_get PATH: plain http, which the same port speaks
sink_get() {
	curl -sS --max-time "${WAIT_SECONDS:-900}" \
		"http://127.0.0.1:$sink_port/$1"
}

# field NAME: a number out of the sink's JSON on stdin
field() {
	sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

sink_cpu() {
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/^.*\) /, "")
		printf "%.2f\n", ($12 + $13) / hz }' "/proc/$sink_pid/stat"
}

# --- numbers ------------------------------------------------------------------

# calc EXPRESSION [FORMAT]
calc() {
	awk "BEGIN { printf \"${2:-%.3f}\", $1 }"
}

# median FORMAT < numbers
median() {
	sort -g | awk -v f="${1:-%.3f}" '{ v[NR] = $1 }
		END { m = int((NR + 1) / 2)
			if (NR == 0) print "-"
			else printf f "\n", (v[m] + v[NR + 1 - m]) / 2 }'
}

# spread < numbers: the quartiles, to tell a difference from noise
spread() {
	sort -g | awk '{ v[NR] = $1 }
		END { printf "%.2f-%.2f", v[int((NR + 3) / 4)], v[int((3 * NR + 3) / 4)] }'
}

# row TEXT VALUE AIM: one line of the report
row() {
	printf '%-58s %12s  %s\n' "$1" "$2" "${3:-}"
}

heading() {
	printf '\n%s\n' "$1"
	row "" measured aim
}
