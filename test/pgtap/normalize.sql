\set ECHO none
-- capi.normalize and capi.hash against the tables of vectors/, which are read
-- by path: this runs in its own folder.  Where they come from:
--
-- normalisation.tsv: Meta's libraries agree and the documentation does not
--   object; field, input, normal form, hash.
-- documentation.tsv: the libraries differ and the documentation settles the
--   case; the same columns.
-- choices.tsv: neither settles it, or capi departs from it on purpose, for a
--   reason that doc/normalisation.md gives; field, input, normal form.
-- cases.tsv: our own; field, country, input, normal form, what is tried.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1

BEGIN;
SELECT plan(830);

CREATE TEMP TABLE vector (field text, input text, normalised text, sha256 text);
\copy vector FROM 'vectors/normalisation.tsv'
SELECT is(count(*), 365::bigint, 'every vector was read') FROM vector;
SELECT is_empty($$SELECT *, capi.normalize(field, input) FROM vector
    WHERE capi.normalize(field, input) IS DISTINCT FROM normalised$$,
    'normal forms of the vectors');
SELECT is_empty($$SELECT *, capi.hash(field, input) FROM vector
    WHERE capi.hash(field, input) IS DISTINCT FROM sha256$$,
    'hashes of the vectors');
SELECT is_empty($$SELECT * FROM vector
    WHERE capi.hash(field, normalised) IS DISTINCT FROM sha256$$,
    'hashes of normal forms are the same');

TRUNCATE vector;
\copy vector FROM 'vectors/documentation.tsv'
SELECT is(count(*), 112::bigint, 'every documented case was read') FROM vector;
SELECT is_empty($$SELECT *, capi.normalize(field, input) FROM vector
    WHERE capi.normalize(field, input) IS DISTINCT FROM normalised$$,
    'normal forms of the documented cases');
SELECT is_empty($$SELECT *, capi.hash(field, input) FROM vector
    WHERE capi.hash(field, input) IS DISTINCT FROM sha256$$,
    'hashes of the documented cases');

TRUNCATE vector;
\copy vector (field, input, normalised) FROM 'vectors/choices.tsv'
SELECT is(count(*), 159::bigint, 'every choice was read') FROM vector;
SELECT is_empty($$SELECT *, capi.normalize(field, input) FROM vector
    WHERE capi.normalize(field, input) IS DISTINCT FROM normalised$$,
    'normal forms of the choices');

CREATE TEMP TABLE own_case (number serial, field text, country text, input text,
    normalised text, what text);
\copy own_case (field, country, input, normalised, what) FROM 'vectors/cases.tsv'
SELECT is(count(*), 803::bigint, 'every case was read') FROM own_case;
SELECT is(capi.normalize(field, input, country), normalised,
    format('%s: %s', field, what))
FROM own_case ORDER BY number;

-- A hash is that of the normal form, whatever was given.
SELECT is_empty($$SELECT * FROM own_case
    WHERE field IN ('em', 'ph', 'fn', 'ln', 'ge', 'db', 'ct', 'st', 'zp',
        'country', 'external_id')
    AND capi.hash(field, input, country) IS DISTINCT FROM
        CASE WHEN normalised ~ '^[0-9a-f]{64}$' THEN normalised
        ELSE encode(sha256(convert_to(normalised, 'UTF8')), 'hex') END$$,
    'hashes of the cases');
-- What was normalised once stays as it is.  Not with a name, which has lost the
-- comma; and a telephone number that is complete does not need the country.  A
-- click id alone needs a length that one in a URL does not.
SELECT is_empty($$SELECT *, capi.normalize(field, normalised,
        CASE WHEN field <> 'ph' THEN country END)
    FROM own_case WHERE field NOT IN ('name', 'fbclid')
    AND capi.normalize(field, normalised, CASE WHEN field <> 'ph' THEN country END)
        IS DISTINCT FROM normalised$$,
    'normal forms are stable');

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
SELECT is(capi.normalize('ph', '0171 2345678', 'Deutschland'), '491712345678',
    'the country by name');
SELECT is(capi.normalize('ph', '0171 2345678', 'Atlantis'), '1712345678',
    'an unknown country is none');

-- Long values
SELECT is(capi.normalize('fn', repeat('a', 2048)), repeat('a', 2048),
    'a long name');
SELECT is(capi.normalize('fn', repeat('a', 2049)), NULL, 'a longer one');
SELECT is(length(capi.normalize('client_user_agent', repeat('x', 65536))), 65536,
    'a long text');
SELECT is(capi.normalize('client_user_agent', repeat('x', 1000000)), NULL,
    'a million characters came into the column by mistake');

SELECT is_empty($$SELECT proname FROM pg_proc
    WHERE pronamespace = 'capi'::regnamespace AND proname IN ('normalize', 'hash')
    AND (provolatile, proparallel) <> ('i', 's')$$,
    'both functions are immutable and parallel safe');

-- Every lower-case mapping below U+A7C0, by another implementation, as far as
-- both know the character.
SELECT current_setting('server_encoding') = 'UTF8' AND EXISTS (SELECT
    FROM pg_collation WHERE collname = 'und-x-icu') AS has_icu \gset
\if :has_icu
-- Latin letters take a path of their own, which a letter of another script in
-- the same text leaves: both say the same of each, wherever it stands.
SELECT is_empty($$SELECT i, field, raw FROM generate_series(128, 640) AS i,
    unnest(array['fn', 'ct', 'st', 'zp', 'external_id']) AS field,
    format('a%1$s B|%1$s%1$sc|A%1$s', chr(i)) AS texts, string_to_table(texts, '|') AS raw
    WHERE capi.normalize(field, raw || 'D') || chr(1078)
        IS DISTINCT FROM capi.normalize(field, raw || 'D' || chr(1078))$$,
    'Latin letters alone and beside others');
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
