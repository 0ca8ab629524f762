-- In the shop's database, by whoever may create publications there: publishes the
-- columns that a recipe reads, and nothing else.
--
--   psql "$SHOP" -v tables='shop.orders (id, status, total), shop.items (id, order_id, sku)' \
--       -f publish.sql
--
--   tables        as CREATE PUBLICATION takes them, with the columns of each
--   publication   its name, default capi
--
-- It is refused when a table's UPDATE or DELETE would fail for it: the server
-- says so only then, to the shop.
\set ON_ERROR_STOP on
\if :{?publication}
\else
\set publication capi
\endif

BEGIN;
SELECT format('CREATE PUBLICATION %I FOR TABLE %s WITH (publish = %L)',
              :'publication', :'tables', 'insert, update, delete') \gexec
SELECT set_config('example.publication', :'publication', true) \g /dev/null
DO $$
DECLARE
    fault text;
BEGIN
    SELECT string_agg(format('%s: %s', r.prrelid::regclass, x.fault), '; ') INTO fault
      FROM pg_publication p
      JOIN pg_publication_rel r ON r.prpubid = p.oid
      JOIN pg_class c ON c.oid = r.prrelid
      LEFT JOIN pg_index i ON i.indrelid = c.oid
                          AND CASE c.relreplident WHEN 'd' THEN i.indisprimary
                                                  WHEN 'i' THEN i.indisreplident ELSE false END
     CROSS JOIN LATERAL (
           SELECT CASE WHEN c.relreplident = 'n' OR (c.relreplident <> 'f' AND i.indrelid IS NULL)
                       THEN 'no replica identity; give it a primary key, or a unique index and ALTER TABLE ... REPLICA IDENTITY USING INDEX'
                       WHEN c.relreplident = 'f' AND r.prattrs IS NOT NULL
                       THEN 'its replica identity is the whole row, so no column can be left out'
                       WHEN r.prattrs IS NULL
                       THEN 'name its columns, or all of them leave the shop'
                       WHEN NOT i.indkey::int2[] <@ r.prattrs::int2[]
                       THEN format('the columns of %s must be among those that are named', i.indexrelid::regclass)
                       END AS fault) x
     WHERE p.pubname = current_setting('example.publication') AND x.fault IS NOT NULL;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION 'this publication would break the shop'
            USING DETAIL = fault;
    END IF;
END $$;
COMMIT;
