----------------------------------------------------------------------------
-- A query for tables of usual shape.
----------------------------------------------------------------------------

-- First of the usual names that the table has; null when it has none.
CREATE FUNCTION capi._pick(tab regclass, names text[]) RETURNS name
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attname
      FROM unnest(names) WITH ORDINALITY AS u (name, n)
      JOIN pg_attribute a ON a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
                         AND regexp_replace(lower(a.attname), '[^a-z0-9]', '', 'g') = u.name
     ORDER BY u.n LIMIT 1
$$;

-- Usual names of columns, lower-case without underscores, best first.  Those of
-- a person or a place may stand in a table that the order refers to.
CREATE FUNCTION capi._usual_names()
    RETURNS TABLE (n int, field text, elsewhere boolean, names text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (1, 'em', true, '{email,emailaddress,customeremail,billingemail,billingaddressemail,useremail,guestemail,contactemail,receiptemail,mail,em}'::text[]),
           (2, 'ph', true, '{phone,phonenumber,telephone,customerphone,billingphone,billingaddressphone,mobile,mobilephone,tel,ph}'),
           (3, 'fn', true, '{firstname,givenname,customerfirstname,billingfirstname,billingaddressfirstname,forename,fn}'),
           (4, 'ln', true, '{lastname,familyname,customerlastname,billinglastname,billingaddresslastname,surname,ln}'),
           (5, 'name', true, '{fullname,customername,billingname,billingaddressname}'),
           (6, 'ct', true, '{city,town,billingcity,billingaddresscity,ct}'),
           (7, 'st', true, '{statecode,provincecode,state,province,region,countryarea,billingstate,billingaddressprovincecode,billingaddressprovince,billingaddressstate}'),
           (8, 'zp', true, '{zip,zipcode,postalcode,postcode,billingzip,billingpostalcode,billingpostcode,billingaddresszip,billingaddresspostalcode,billingaddresspostcode,zp}'),
           (9, 'country', true, '{countrycode,country,countryiso,countryiso2,billingcountrycode,billingcountry,billingaddresscountrycode,billingaddresscountry}'),
           (10, 'external_id', false, '{customerid,userid,accountid,buyerid,externalid}'),
           (11, 'client_ip_address', false, '{clientipaddress,customeripaddress,customerip,browserip,clientdetailsbrowserip,ipaddress,lastipaddress,clientip,remoteip,ip}'),
           (12, 'client_user_agent', false, '{clientuseragent,customeruseragent,clientdetailsuseragent,useragent,browseruseragent}'),
           (13, 'fbc', false, '{fbc}'),
           (14, 'fbp', false, '{fbp}'),
           (15, 'fbclid', false, '{fbclid}'),
           (16, 'value', false, '{grandtotal,totalamount,totalinclvat,totalincltax,ordertotal,totalprice,totalgrossamount,grosstotal,totalgross,total,totalsales,amounttotal,amountreceived,amountpaid,amount,price,value}'),
           (17, 'currency', false, '{currency,currencycode,currencyiso,ordercurrencycode,ordercurrency,totalcurrency,amountcurrency}'),
           (18, 'order_id', false, '{ordernumber,number,orderno,incrementid,displayid,reference,code}')
$$;

-- Does a reference by this column lead to the buyer, as its name says?  A present is
-- shipped to somebody else, and staff and sellers have addresses, too.
CREATE FUNCTION capi._is_buyers(col name) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (col ~* 'bill|invoice|customer|user|buyer|account|client|partner|purchaser|payer|shopper|member|guest|contact|person|profile'
     OR col ~* '^addr(ess)?_?(id)?$')
    AND col !~* 'ship(ping|to|_)|deliver|recipient|receiver|consignee|gift|seller|vendor|merchant|supplier|staff|employee|agent|sales|manager|operator|admin|courier|driver|referr|affiliate|assign|approv|creat|updat|modif|_by\M|_by_|support|author|owner'
$$;

-- What the table refers to by one column: the billing address before the
-- customer, and both before the rest.
CREATE FUNCTION capi._references(tab regclass)
    RETURNS TABLE (alias text, col name, target regclass, target_col name)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'r' || row_number() OVER (ORDER BY CASE WHEN a.attname ~* 'bill|invoice' THEN 1
                                                   WHEN a.attname ~* 'customer|user|buyer|account|client' THEN 2
                                                   WHEN a.attname ~* 'ship|deliver' THEN 4
                                                   ELSE 3 END, a.attnum),
           a.attname, c.confrelid::regclass, f.attname
      FROM pg_constraint c
      JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
      JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
     WHERE c.conrelid = tab AND c.contype = 'f' AND cardinality(c.conkey) = 1
       AND c.confrelid <> c.conrelid
$$;

-- The code in a table of countries or states that the table refers to.
CREATE FUNCTION capi._code_of(tab regclass, alias text, pattern text, names text[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(SELECT c.%s FROM %s AS c WHERE c.%I = %s.%I)', quote_ident(capi._pick(r.target, names)), r.target,
                  r.target_col, _code_of.alias, r.col)
      FROM capi._references(tab) r JOIN pg_class k ON k.oid = r.target
     WHERE k.relname ~* pattern AND capi._pick(r.target, names) IS NOT NULL
     ORDER BY r.alias LIMIT 1
$$;

-- Every place of one field: in the table itself, in tables of codes beside it.
CREATE FUNCTION capi._places(tab regclass, alias text, field text, names text[], minor boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    code text := CASE field
        WHEN 'country' THEN capi._code_of(tab, alias, 'countr', '{iso,isocode,iso2,alpha2,code,countrycode,iso31661a2}')
        WHEN 'st' THEN capi._code_of(tab, alias, 'state|province|region', '{abbr,code,isocode}') END;
    col name := capi._pick(tab, names);
BEGIN
    -- without a place around it "state" is how far the order has come
    IF field = 'st' AND col = 'state' AND capi._pick(tab, '{city,town,zip,zipcode,postalcode,postcode,ct,zp}') IS NULL THEN
        col := NULL;
    END IF;
    RETURN coalesce(code, alias || '.' || quote_ident(col),
                    CASE WHEN field = 'value' THEN capi._cents(tab, alias, names, minor) END);
END $$;

-- An amount of usual name in hundredths, total_cents: as what it stands for, or as
-- it is when the source's minor_units divide.
CREATE FUNCTION capi._cents(tab regclass, alias text, names text[], minor boolean) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(CASE WHEN minor THEN '%s.%I' ELSE '(%s.%I / 100.0)' END, alias, c.col)
      FROM (SELECT capi._pick(tab, ARRAY(SELECT name || unit
                                           FROM unnest(names) WITH ORDINALITY AS u (name, n),
                                                unnest('{cents,incents,cent,pence,inpence,minor,minorunits}'::text[]) WITH ORDINALITY AS v (unit, m)
                                          ORDER BY n, m))) AS c (col)
     WHERE c.col IS NOT NULL
$$;

-- Is the amount that was found, and whose name says nothing of cents, of a type
-- that has none?
CREATE FUNCTION capi._value_is_whole(tab regclass) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_or(capi._column_type(tab, capi._pick(tab, u.names)) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)), false)
      FROM capi._usual_names() u WHERE u.field = 'value' AND capi._pick(tab, u.names) IS NOT NULL
$$;

-- The items of the order: a table that refers to it and counts something.
CREATE FUNCTION capi._items(tab regclass, minor boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    id name;
    quantity name;
    price text;
    prices text[] := '{unitprice,itemprice,unitpriceincltax,unitpricegrossamount,priceincltax,price}';
BEGIN
    FOR item IN
        SELECT c.conrelid::regclass AS rel, a.attname AS col, f.attname AS order_col
          FROM pg_constraint c
          JOIN pg_class k ON k.oid = c.conrelid
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
          JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
         WHERE c.confrelid = tab AND c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid <> tab
         ORDER BY k.relname !~* 'item|line|position|product', k.relname
    LOOP
        id := capi._pick(item.rel, '{sku,productsku,variantsku,partnersku,upc,variantid,productid,itemid,articleid}');
        quantity := capi._pick(item.rel, '{quantity,orderplacedquantity,qtyordered,qty,amount,count}');
        price := coalesce('i.' || quote_ident(capi._pick(item.rel, prices)), capi._cents(item.rel, 'i', prices, minor));
        CONTINUE WHEN id IS NULL OR quantity IS NULL;
        RETURN format(E'(SELECT jsonb_agg(jsonb_build_object(''id'', i.%I::text, ''quantity'', i.%I%s))\n'
                      '          FROM %s AS i WHERE i.%I = o.%I)',
                      id, quantity, coalesce(format(', ''item_price'', %s', price), ''),
                      item.rel, item.col, item.order_col);
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION capi._usual_time(tab regclass, zone text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    col name := capi._pick(tab, '{paidat,datepaidgmt,datepaid,orderplacedat,placedat,processedat,completedat,orderedat,purchasedat,dateplaced,dateorder,orderdate,createdat,createdatgmt,datecreatedgmt,datecreated,postdategmt,created,createdate}');
BEGIN
    IF col IS NULL THEN
        RAISE EXCEPTION 'no column of table "%" looks like the time of the order', tab
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the query yourself, with a column event_time.';
    END IF;
    IF lower(col) ~ '(gmt|utc)$' THEN
        zone := 'UTC';
    END IF;
    RETURN format('o.%I', col)
        || CASE WHEN zone IS NOT NULL AND capi._column_type(tab, col) = 'timestamp'::regtype
                THEN format(' AT TIME ZONE %L', zone) ELSE '' END;
END $$;

-- Why an order would not be reported: flags of usual names.
CREATE FUNCTION capi._usual_reason(tab regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'CASE ' || string_agg(format('WHEN %so.%I THEN %L', u.negate, a.attname, u.reason), ' ' ORDER BY u.n) || ' END'
      FROM (VALUES (1, '{istest,test,testmode,testorder}'::text[], '', 'test order'),
                   (2, '{isdraft,isdraftorder,draft}', '', 'draft'),
                   (3, '{marketingconsent,consent,hasconsent,trackingconsent}', 'NOT ', 'no consent'),
                   (4, '{livemode}', 'NOT ', 'test order')) AS u (n, names, negate, reason)
      JOIN pg_attribute a ON a.attrelid = tab AND a.attname = capi._pick(tab, u.names) AND a.atttypid = 'bool'::regtype
$$;

-- What would tell of a person, and perhaps of another than the buyer: columns of
-- the shipping address, and tables that are not said to be the buyer's.
CREATE FUNCTION capi._others_data(tab regclass) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH usual AS (SELECT unnest(u.names) AS name FROM capi._usual_names() u WHERE u.elsewhere)
    SELECT ARRAY(SELECT quote_ident(a.attname)
                   FROM pg_attribute a
                  WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
                    AND (substring(regexp_replace(lower(a.attname), '[^a-z0-9]', '', 'g') FROM '^(?:shipping|shipto|ship|delivery|recipient|receiver)(?:address)?(.+)$')
                         IN (SELECT name FROM usual UNION VALUES ('name'))
                         OR EXISTS (SELECT FROM capi._references(tab) r
                                     WHERE r.col = a.attname AND NOT capi._is_buyers(r.col)
                                       AND EXISTS (SELECT FROM pg_attribute t, usual
                                                    WHERE t.attrelid = r.target AND t.attnum > 0 AND NOT t.attisdropped
                                                      AND usual.name NOT IN ('state', 'country', 'region', 'countrycode', 'countryiso', 'statecode')
                                                      AND regexp_replace(lower(t.attname), '[^a-z0-9]', '', 'g') = usual.name)))
                  ORDER BY a.attnum)
$$;

-- What Meta would match by and was not found, but for what the others lack already.
CREATE FUNCTION capi._not_found(found text[]) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT w.field
                   FROM unnest('{ph,fn,ln,ct,zp,country,external_id,client_ip_address,client_user_agent,fbc,fbp,contents}'::text[])
                        WITH ORDINALITY AS w (field, n)
                  WHERE w.field <> ALL (found)
                    AND NOT (w.field IN ('fn', 'ln') AND 'name' = ANY (found))
                    AND NOT (w.field = 'fbc' AND 'fbclid' = ANY (found))
                  ORDER BY w.n)
$$;

-- zone: of a naive time, null to leave it as it is.  minor: the source has minor_units.
CREATE FUNCTION capi._usual_query(tab regclass, keys text[], zone text DEFAULT NULL, minor boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines text[] := ARRAY[
        CASE WHEN cardinality(keys) = 1 THEN format('o.%I', keys[1])
             ELSE 'ROW(' || (SELECT string_agg(format('o.%I', k), ', ' ORDER BY n)
                               FROM unnest(keys) WITH ORDINALITY AS u (k, n)) || ')' END || ' AS key',
        capi._usual_time(tab, zone) || ' AS event_time'];
    joins text := '';
    missing text := '';
    found text[] := '{}';
    wanted text[];
    usual record;
    places text[];
    extra text;
    used text[] := '{}';
BEGIN
    FOR usual IN SELECT * FROM capi._usual_names() ORDER BY n LOOP
        places := array_remove(ARRAY[capi._places(tab, 'o', usual.field, usual.names, minor)], NULL);
        IF usual.elsewhere THEN
            SELECT places || coalesce(array_agg(p.place ORDER BY r.alias), '{}'),
                   used || coalesce(array_agg(r.alias), '{}')
              INTO places, used
              FROM capi._references(tab) r
             CROSS JOIN LATERAL capi._places(r.target, r.alias, usual.field, usual.names, minor) AS p (place)
             WHERE p.place IS NOT NULL AND capi._is_buyers(r.col);
        END IF;
        IF cardinality(places) = 0 THEN
            missing := missing || CASE WHEN usual.field IN ('em', 'value', 'currency')
                                       THEN E'\n-- no column was recognised as ' || usual.field ELSE '' END;
            CONTINUE;
        END IF;
        found := found || usual.field;
        lines := lines || (CASE cardinality(places) WHEN 1 THEN places[1]
                                ELSE 'coalesce(' || (SELECT string_agg('nullif(' || p || '::text, '''')', ', ' ORDER BY n)
                                                       FROM unnest(places) WITH ORDINALITY AS u (p, n)) || ')' END
                           || CASE usual.field WHEN 'order_id' THEN '::text' ELSE '' END || ' AS ' || usual.field);
    END LOOP;
    extra := capi._items(tab, minor);
    IF extra IS NOT NULL THEN
        lines := lines || (extra || ' AS contents');
        found := found || 'contents'::text;
    END IF;
    wanted := capi._not_found(found);
    IF cardinality(wanted) > 0 THEN
        missing := missing || E'\n-- not found, and worth a look: ' || array_to_string(wanted, ', ');
    END IF;
    wanted := capi._others_data(tab);
    IF cardinality(wanted) > 0 THEN
        missing := missing || E'\n-- left out, since it may be of somebody else than the buyer: ' || array_to_string(wanted, ', ');
    END IF;
    IF EXISTS (SELECT FROM unnest(lines) AS line WHERE line LIKE '%/ 100.0%') THEN
        missing := missing || E'\n-- amounts divided by 100: for currencies without cents leave that out, and give attach() minor_units';
    END IF;
    IF capi._value_is_whole(tab) AND NOT minor THEN
        missing := missing || E'\n-- value is a whole number: if that is cents, give attach() minor_units';
    END IF;
    extra := capi._usual_reason(tab);
    IF extra IS NOT NULL THEN
        lines := lines || (extra || ' AS ignore_reason');
    END IF;
    SELECT coalesce(string_agg(format(E'\n  LEFT JOIN %s AS %s ON %s.%I = o.%I', r.target, r.alias, r.alias,
                                      r.target_col, r.col), '' ORDER BY r.alias), '')
      INTO joins FROM capi._references(tab) r WHERE r.alias = ANY (used);
    RETURN 'SELECT ' || array_to_string(lines, E',\n       ') || E'\n  FROM ' || tab::text || ' AS o' || joins || missing;
END $$;

CREATE FUNCTION capi._suggest_query(caller oid, table_name regclass) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN capi._usual_query(table_name, capi._key_columns(table_name, NULL), 'UTC');
END $$;
