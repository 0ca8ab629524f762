\set ECHO none
-- capi.normalize and capi.hash against the vectors of vectors/ and the rules
-- of doc/normalisation.md.  Runs in this folder: the vectors are read by path.
--
-- vectors/normalisation.tsv: field, input, normal form, hash, where Meta's
-- libraries agree and the documentation does not object.
-- vectors/documentation.tsv: the same where libraries differ and the
-- documentation settles the case.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1

BEGIN;
SELECT plan(139);

CREATE TEMP TABLE vector (field text, input text, normalised text, sha256 text);
\copy vector FROM 'vectors/normalisation.tsv'
SELECT is(count(*), 365::bigint, 'every vector was read') FROM vector;
SELECT is_empty($$SELECT * FROM vector
    WHERE capi.normalize(field, input) IS DISTINCT FROM normalised$$,
    'normal forms of the vectors');
SELECT is_empty($$SELECT * FROM vector
    WHERE capi.hash(field, input) IS DISTINCT FROM sha256$$,
    'hashes of the vectors');
SELECT is_empty($$SELECT * FROM vector
    WHERE capi.hash(field, normalised) IS DISTINCT FROM sha256$$,
    'hashes of normal forms are the same');

TRUNCATE vector;
\copy vector FROM 'vectors/documentation.tsv'
SELECT is(count(*), 111::bigint, 'every documented case was read') FROM vector;
SELECT is_empty($$SELECT * FROM vector
    WHERE capi.normalize(field, input) IS DISTINCT FROM normalised$$,
    'normal forms of the documented cases');
SELECT is_empty($$SELECT * FROM vector
    WHERE capi.hash(field, input) IS DISTINCT FROM sha256$$,
    'hashes of the documented cases');

-- White space and Unicode
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('em', E'\u00a0\u3000Anna@Example.COM\u2003\t', NULL::text, 'anna@example.com', 'no-break, ideographic and em spaces are trimmed'),
    ('em', 'tést@gmail.com', NULL, 'tést@gmail.com', 'letters beyond ASCII stay in an address'),
    ('em', 'TÉST@GMAIL.com', NULL, 'tést@gmail.com', 'and are lower-cased'),
    ('em', 'a@b.de, c@d.de', NULL, NULL, 'two addresses in one text are none'),
    ('em', '<a@b.de>', NULL, NULL, 'brackets do not belong to an address'),
    ('em', 'mailto:a@b.de', NULL, NULL, 'nor does a scheme'),
    ('em', 'ac862c981fee6b90654257051c4e197a', NULL, NULL, 'MD5 is not accepted'),
    ('fn', 'b8e7be5dfa2ce0714d21dcfc7d72382c', NULL, NULL, 'nor as a name'),
    ('external_id', 'b8e7be5dfa2ce0714d21dcfc7d72382c', NULL, 'b8e7be5dfa2ce0714d21dcfc7d72382c', 'but an id may look like that'),
    ('em', '62A14E44F765419D10FEA99367361A727C12365E2520F32218D505ED9AA0F62F', NULL, '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f', 'an upper-case hash is lower-cased'),
    ('em', '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f.AQQCAQMC', NULL, '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f', 'the appendix of a hash is dropped'),
    ('ln', 'ΟΔΥΣΣΕΥΣ ΣΑΣ', NULL, 'οδυσσευςσας', 'a sigma is final at the end of each word'),
    ('ln', 'Σ', NULL, 'σ', 'a sigma alone is not'),
    ('ln', 'İpek', NULL, 'i̇pek', 'a capital i with dot keeps its dot'),
    ('ln', E'O\u00b4Brien', NULL, 'obrien', 'an acute accent used as apostrophe is dropped'),
    ('ln', 'van der Berg', NULL, 'vanderberg', 'spaces inside a name are dropped'),
    ('ln', '-', NULL, NULL, 'a name of punctuation is none'),
    ('ln', 'नरेन्द्र', NULL, 'नरेन्द्र', 'combining marks are no punctuation'),
    ('fn', '𐐀𐐁', NULL, '𐐨𐐩', 'lower-case beyond the basic plane')
) AS t(field, value, country, want, what);

-- Telephone numbers
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('ph', '0171 2345678', 'de', '491712345678', 'calling code from the country'),
    ('ph', '0171 2345678', 'Deutschland', '491712345678', 'the country by name'),
    ('ph', '+49 (0)171 2345678', 'de', '491712345678', 'a trunk zero in brackets is dropped'),
    ('ph', '491712345678', 'de', '491712345678', 'the calling code without plus is recognised'),
    ('ph', '(650) 555-1212', 'us', '16505551212', 'ten digits in the USA'),
    ('ph', '1 650 555 1212', 'us', '16505551212', 'eleven digits in the USA'),
    ('ph', '011 44 20 7946 0958', 'us', '442079460958', 'international prefix of the USA'),
    ('ph', '555-1212', 'us', NULL, 'a local number is not enough'),
    ('ph', '020 7946 0958', 'gb', '442079460958', 'British, with trunk zero'),
    ('ph', '2079460958', 'gb', '442079460958', 'British, its zero lost in a number column'),
    ('ph', '0044 20 7946 0958', 'fr', '442079460958', 'another country than the customers'),
    ('ph', '+44 20 7946 0958', 'fr', '442079460958', 'the same with plus'),
    ('ph', '06 12345678', 'it', '390612345678', 'Italian numbers keep their zero'),
    ('ph', '912 345 678', 'es', '34912345678', 'a country without trunk prefix'),
    ('ph', '34912345678', 'es', '34912345678', 'the same, complete'),
    ('ph', '22 12 34 56', 'no', '4722123456', 'Norwegian'),
    ('ph', '8 495 123-45-67', 'ru', '74951234567', 'Russian trunk 8'),
    ('ph', '+7 495 123-45-67', 'ru', '74951234567', 'Russian, international'),
    ('ph', '80 29 123-45-67', 'by', '375291234567', 'Belarusian trunk 80'),
    ('ph', '06 1 234 5678', 'hu', '3612345678', 'Hungarian trunk 06'),
    ('ph', '55 99612-3456', 'br', '5555996123456', 'a Brazilian area code equal to the calling code'),
    ('ph', '080 1234 5678', 'jp', '818012345678', 'Japanese mobile'),
    ('ph', '０９０－１２３４－５６７８', 'jp', '819012345678', 'digits of full width'),
    ('ph', '0171 2345678', NULL, '1712345678', 'without country the number stays incomplete'),
    ('ph', '0171 2345678', 'atlantis', '1712345678', 'an unknown country is none')
) AS t(field, value, country, want, what);

-- Dates of birth
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('db', '1997-02-16', NULL::text, '19970216', 'ISO'),
    ('db', '1997-02-16 00:00:00+01', NULL, '19970216', 'timestamp'),
    ('db', '1997-02-16T00:00:00Z', NULL, '19970216', 'ISO timestamp'),
    ('db', '2/16/1997', NULL, '19970216', 'the documentations example'),
    ('db', '16/02/1997', NULL, '19970216', 'a first number beyond 12 is the day'),
    ('db', '16.02.1997', NULL, '19970216', 'dots put the day first'),
    ('db', '03.04.1997', NULL, '19970403', 'also when it could be the month'),
    ('db', '19000229', NULL, NULL, '1900 was no leap year'),
    ('db', '2000-02-29', NULL, '20000229', '2000 was'),
    ('db', '19971316', NULL, NULL, 'month 13'),
    ('db', '18991231', NULL, NULL, 'before 1900'),
    ('db', '20990101', NULL, NULL, 'yet to come'),
    ('db', '97-02-16', NULL, NULL, 'a year of two digits')
) AS t(field, value, country, want, what);

-- States
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('st', 'California', NULL::text, 'ca', 'a state of the USA by name'),
    ('st', 'california ', 'us', 'ca', 'with the country'),
    ('st', 'US-CA', NULL, 'ca', 'ISO 3166-2'),
    ('st', 'District of Columbia', 'us', 'dc', 'the capital'),
    ('st', 'Georgia', 'ge', 'georgia', 'not a state of the USA elsewhere'),
    ('st', 'Washington', 'gb', 'washington', 'nor here'),
    ('st', 'New South Wales', 'au', 'newsouthwales', 'the whole name elsewhere'),
    ('st', 'NSW', 'au', 'nsw', 'or its code'),
    ('st', 'Île-de-France', 'fr', 'îledefrance', 'accents stay')
) AS t(field, value, country, want, what);

-- Postcodes
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('zp', '94035-1234', 'us', '94035', 'ZIP+4'),
    ('zp', '940351234', 'us', '94035', 'ZIP+4 without dash'),
    ('zp', '940351234', NULL, '94035', 'and without country'),
    ('zp', '123456789', 'ir', '123456789', 'nine digits elsewhere'),
    ('zp', '01310-100', 'br', '01310100', 'a dash is dropped, what follows stays'),
    ('zp', '01310-100', NULL, '01310100', 'also without country'),
    ('zp', '00-950', 'pl', '00950', 'Polish'),
    ('zp', 'M1 1AE', 'gb', 'm11ae', 'British'),
    ('zp', '1012 AB', 'nl', '1012ab', 'Dutch'),
    ('zp', 'V6B-4Y8', 'ca', 'v6b4y8', 'Canadian')
) AS t(field, value, country, want, what);

-- Countries
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('country', 'USA', NULL::text, 'us', 'alpha-3'),
    ('country', 'U.S.', NULL, 'us', 'with dots'),
    ('country', 'AUT', NULL, 'at', 'alpha-3 that begins like another code'),
    ('country', 'CHN', NULL, 'cn', 'likewise'),
    ('country', 'UK', NULL, 'gb', 'in common use, though not the code'),
    ('country', 'United Kingdom', NULL, 'gb', 'English name'),
    ('country', 'Deutschland', NULL, 'de', 'own name'),
    ('country', 'Côte d’Ivoire', NULL, 'ci', 'name with accent and apostrophe'),
    ('country', 'Cote dIvoire', NULL, 'ci', 'name without'),
    ('country', 'Türkiye', NULL, 'tr', 'new name'),
    ('country', 'Turkey', NULL, 'tr', 'old name'),
    ('country', 'EU', NULL, NULL, 'not a country'),
    ('country', 'ZZ', NULL, NULL, 'not a code'),
    ('country', 'Korea', NULL, NULL, 'ambiguous')
) AS t(field, value, country, want, what);

-- Gender and external id
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('ge', 'woman', NULL::text, 'f', 'word'),
    ('ge', 'M.', NULL, 'm', 'with a dot'),
    ('ge', 'd', NULL, NULL, 'neither'),
    ('external_id', ' User-42 ', NULL, 'user-42', 'as the only library that hashes it')
) AS t(field, value, country, want, what);

-- Not hashed
SELECT is(capi.normalize(field, value, country), want, field || ': ' || what)
  FROM (VALUES
    ('client_ip_address', '203.0.113.7', NULL::text, '203.0.113.7', 'IPv4'),
    ('client_ip_address', '2001:db8::1/128', NULL, '2001:db8::1', 'inet prints a mask'),
    ('client_ip_address', '203.0.113.7, 10.0.0.1', NULL, '203.0.113.7', 'first of a forwarding chain'),
    ('client_ip_address', '::ffff:203.0.113.7', NULL, '203.0.113.7', 'mapped'),
    ('client_ip_address', '[2001:db8::1]:443', NULL, '2001:db8::1', 'with port'),
    ('client_ip_address', '203.0.113.700', NULL, NULL, 'not an address'),
    ('fbc', ' fb.1.1554763741205.AbC-_d ', NULL, 'fb.1.1554763741205.AbC-_d', 'case and both marks stay'),
    ('fbc', 'fb.1.1554763741205.AbC.AQQCAQMC', NULL, 'fb.1.1554763741205.AbC.AQQCAQMC', 'appendix'),
    ('fbc', 'fb.1.1554763741205.fb.1.1554763741205.AbC', NULL, NULL, 'wrapped twice'),
    ('fbc', 'fb.1.1554763741205.', NULL, NULL, 'without click id'),
    ('fbc', 'IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk', NULL, NULL, 'bare click id: its time is not known'),
    ('fbp', 'fb.1.1558571054389.1098115397', NULL, 'fb.1.1558571054389.1098115397', 'fbp'),
    ('event_source_url', 'https://shop.example/a?b=1', NULL, 'https://shop.example/a?b=1', 'query string stays'),
    ('event_source_url', 'shop.example/a', NULL, NULL, 'without scheme'),
    ('currency', ' eur ', NULL, 'EUR', 'upper case'),
    ('currency', 'btc', NULL, NULL, 'not in ISO 4217'),
    ('value', '64.8000000000000000', NULL, '64.8', 'trailing zeros'),
    ('value', '0', NULL, '0', 'zero'),
    ('value', '-0.00', NULL, '0', 'no negative zero'),
    ('value', '1e2', NULL, '100', 'no exponent'),
    ('value', '1e-3', NULL, '0.001', 'nor a negative one'),
    ('value', '12345678901234567890.12345', NULL, '12345678901234567890.12345', 'exact'),
    ('value', 'NaN', NULL, NULL, 'not a number'),
    ('value', 'Infinity', NULL, NULL, 'nor infinite'),
    ('value', '1,50', NULL, NULL, 'nor with a comma'),
    ('num_items', '3.00', NULL, '3', 'integer'),
    ('num_items', '3.5', NULL, NULL, 'not an integer'),
    ('opt_out', 't', NULL, 'true', 'boolean'),
    ('contents', '[{"id": 7, "quantity": 2.0, "item_price": 0.00, "name": "x"}]', NULL, '[{"id":"7","quantity":2,"item_price":0}]', 'known keys of an item'),
    ('contents', '[{"quantity": 1}]', NULL, NULL, 'item without id'),
    ('contents', '[{', NULL, NULL, 'not JSON')
) AS t(field, value, country, want, what);

-- Nothing to say
SELECT is(capi.normalize('em', NULL), NULL, 'null has no normal form');
SELECT is(capi.hash('fn', E' \t\u00a0'), NULL, 'white space is never hashed');
SELECT is(capi.hash('ct', '123'), NULL, 'nor what normalisation leaves empty');
SELECT is(capi.hash('em', ' A@B.de '),
    encode(sha256('a@b.de'), 'hex'), 'the hash is of the normal form');
SELECT throws_ok($$SELECT capi.normalize('email', 'a@b.de')$$, '22023',
    'unknown field "email"', 'an unknown field is an error');
SELECT throws_ok($$SELECT capi.hash('value', '1')$$, '22023',
    'field "value" is not hashed', 'so is hashing what is not hashed');

-- Every lower-case mapping below U+A7C0, by another implementation.  U+1C89 is
-- newer than our table.
SELECT current_setting('server_encoding') = 'UTF8' AND EXISTS (SELECT
    FROM pg_collation WHERE collname = 'und-x-icu') AS has_icu \gset
\if :has_icu
SELECT is_empty($$SELECT i, chr(i) FROM generate_series(161, x'a7bf'::int) AS i
    WHERE lower(chr(i) COLLATE "und-x-icu") <> chr(i) AND i <> x'1c89'::int
    AND capi.normalize('external_id', chr(i))
        IS DISTINCT FROM lower(chr(i) COLLATE "und-x-icu")$$,
    'lower case as in ICU');
\else
SELECT skip('no ICU in this server or database', 1);
\endif

SELECT * FROM finish();
ROLLBACK;
