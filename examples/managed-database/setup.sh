#!/usr/bin/env bash
# Sets up a small PostgreSQL of one's own that follows a shop's managed database
# and runs capi: publication, tables, subscription, recipe.  README.md beside this
# file says what is needed before, and what to know after.
#
#   SHOP='host=… dbname=shop user=…'      the shop's database, as who may publish
#   REPLICATION='host=… user=capi_reader' the same, as who may replicate
#   OWN='dbname=shop'                     ours, as superuser, with capi and a dataset
#   TABLES='shop.orders (id, status, …)'  what to publish: columns that the recipe reads
#   RECIPE=recipe.sql                     run there as OWNER
#   OWNER=shop_owner                      has the duty of an admin
#
# Run again after a failure it goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")"

: "${SHOP:?}" "${REPLICATION:?}" "${OWN:?}" "${TABLES:?}" "${RECIPE:?}" "${OWNER:?}"
name=${NAME:-capi}
source=${SOURCE:-orders}

shop() { psql -XqAt -v ON_ERROR_STOP=1 -v publication="$name" "$SHOP" "$@"; }
own() { psql -XqAt -v ON_ERROR_STOP=1 "$OWN" "$@"; }

echo "== the shop publishes"
[ "$(shop -c "SELECT count(*) FROM pg_publication WHERE pubname = '$name'")" = 1 ] ||
	shop -v tables="$TABLES" -f publish.sql
shop -c "SELECT schemaname || '.' || tablename || ': ' || array_to_string(attnames, ', ')
           FROM pg_publication_tables WHERE pubname = '$name' ORDER BY 1"

echo "== its tables here, and the subscription"
if [ "$(own -c "SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                 WHERE s.subname = '$name' AND d.datname = current_database()")" = 0 ]; then
	{
		echo "SET ROLE \"$OWNER\";"
		shop -f tables.sql
	} | own -1 -f -
	own -v name="$name" -v from="$REPLICATION" -f - <<-'SQL'
		CREATE SUBSCRIPTION :"name" CONNECTION :'from' PUBLICATION :"name"
	SQL
fi
copying="SELECT count(*) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
          WHERE s.subname = '$name' AND r.srsubstate <> 'r'"
tries=0
until [ "$(own -c "$copying")" = 0 ]; do
	[ $((tries += 1)) -le "${WAIT:-3600}" ] ||
		{ echo "tables are still being copied; the server log says why" >&2; exit 1; }
	sleep 1
done

echo "== the recipe, from now on: what was copied is history"
own -1 -c "SET ROLE \"$OWNER\"" -f "$RECIPE" \
	-c "SELECT capi.alter_source(source => '$source', fire_on_replica => true)" >/dev/null

echo "== as it is now"
own -c "SELECT 'captured of what was copied: ' || count(*) FROM capi.delivery_status WHERE source = '$source'"
own -F ' | ' -c "SELECT \"check\", CASE WHEN ok THEN 'ok' ELSE 'NOT OK' END, detail FROM capi.diagnose()"
