-- In the shop's database: prints the statements that make the published tables in
-- another one.  Types that are not PostgreSQL's own (enums, domains) become text,
-- in which they travel.
--
--   psql "$SHOP" -XqAt -f tables.sql | psql "$OWN" -X1 -v ON_ERROR_STOP=1
\set ON_ERROR_STOP on
\if :{?publication}
\else
\set publication capi
\endif

SELECT DISTINCT format('CREATE SCHEMA IF NOT EXISTS %I;', t.schemaname)
  FROM pg_publication_tables t
 WHERE t.pubname = :'publication' AND t.schemaname <> 'public';

SELECT format(E'CREATE TABLE %I.%I (\n    %s\n);', t.schemaname, t.tablename,
              concat_ws(E',\n    ', columns.list, keys.list))
  FROM pg_publication_tables t
  JOIN pg_class c ON c.oid = format('%I.%I', t.schemaname, t.tablename)::regclass
 CROSS JOIN LATERAL (
       SELECT string_agg(format('%I %s', a.attname,
                                CASE WHEN y.typnamespace = 'pg_catalog'::regnamespace
                                     THEN format_type(a.atttypid, a.atttypmod) ELSE 'text' END),
                         E',\n    ' ORDER BY a.attnum) AS list
         FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attname = ANY (t.attnames)) columns
 CROSS JOIN LATERAL (
       SELECT format('PRIMARY KEY (%s)', string_agg(format('%I', a.attname), ', ' ORDER BY k.n)) AS list
         FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid
          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
       HAVING count(*) > 0) keys
 WHERE t.pubname = :'publication'
 ORDER BY t.schemaname, t.tablename;
