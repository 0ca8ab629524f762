# Makes the script of an upgrade from the parts of an installation: what can be
# replaced is replaced.  Of tables.sql only the functions; its tables are changed
# by hand.
FNR == 1 && NR > 1 { print "" }
FILENAME ~ /tables\.sql$/ {
	if (/^CREATE FUNCTION/) { inside = 1; dollars = 0 }
	if (!inside) next
	dollars += gsub(/\$\$/, "$$")
}
/^CREATE (FUNCTION|PROCEDURE|VIEW) / { sub(/^CREATE/, "CREATE OR REPLACE") }
{ print }
inside && /;$/ && dollars % 2 == 0 { inside = 0; print "" }
