-- One line for each fault; see check-objects.  Objects whose name begins with
-- an underscore are internal, and so are sequences of tables.

WITH member AS (
    SELECT d.classid, d.objid,
           pg_describe_object(d.classid, d.objid, 0) AS what
      FROM pg_depend d
      JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE e.extname = 'capi' AND d.deptype = 'e'
)
SELECT 'no comment: ' || what
  FROM member m
 WHERE NOT EXISTS (SELECT FROM pg_description c
                    WHERE c.classoid = m.classid AND c.objoid = m.objid AND c.objsubid = 0)
   AND m.classid <> 'pg_type'::regclass     -- row types come with their table
   AND what !~ '(^| )(capi\.)?_[a-z_]+(\(|$)'
   AND what !~ '^sequence '
 ORDER BY 1;

SELECT 'granted to PUBLIC: ' || what || ' (' || string_agg(privilege_type, ', ') || ')'
  FROM (SELECT pg_describe_object('pg_proc'::regclass, p.oid, 0) AS what,
               coalesce(proacl, acldefault('f', proowner)) AS acl
          FROM pg_proc p WHERE pronamespace = 'capi'::regnamespace
        UNION ALL
        SELECT pg_describe_object('pg_class'::regclass, c.oid, 0),
               coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner))
          FROM pg_class c WHERE relnamespace = 'capi'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL
        SELECT 'schema capi', coalesce(nspacl, acldefault('n', nspowner))
          FROM pg_namespace WHERE nspname = 'capi') AS object
 CROSS JOIN LATERAL aclexplode(acl) AS a
 WHERE a.grantee = 0
 GROUP BY what
 ORDER BY 1;
