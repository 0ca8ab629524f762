"""What a member of a request may be: the kinds that the tables name.

A check takes a value and returns None or what is wrong.  It never quotes the
value, which may be personal data.  Members and Items are for objects and for
arrays of objects.  Used by fields and schema.
"""

import math
import re

NUMERIC_TEXT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
INT64_MAX = 2 ** 63 - 1

# ISO 4217 (SPEC 4): with some codes withdrawn lately, without those for tests
# and for no currency.
CURRENCIES = frozenset("""
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB
BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC
CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF
GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD
SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI
UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF
XPD XPF XPT XSU XUA YER ZAR ZMW ZWG ZWL
""".split())


class Members:
    """An object with these members; free: and any others."""

    def __init__(self, table, free=False):
        self.table = table
        self.free = free


class Items:
    """An array of objects with these members."""

    def __init__(self, table):
        self.member = Members(table)


# --- texts ----------------------------------------------------------------

def a_string(value):
    return None if type(value) is str else "must be a string"


def a_filled_string(value):
    if type(value) is str and value:
        return None
    return "must be a string that is not empty"


def one_of(allowed):
    """Make a check for a fixed list of texts, case-sensitive."""
    words = ", ".join(sorted(allowed))

    def check(value):
        if type(value) is str and value in allowed:
            return None
        return "must be one of: " + words
    return check


def a_currency(value):
    """Both letter cases are taken (SPEC 3.5, currency)."""
    if type(value) is str and value.upper() in CURRENCIES \
            and len(value) == 3 and value.isascii():
        return None
    return "must be an ISO 4217 currency code"


def a_partner_agent(value):
    """Shorter than 23 characters, two letters or more (SPEC 1.2)."""
    if type(value) is str and len(value) < 23 \
            and sum(char.isalpha() for char in value) >= 2:
        return None
    return "must be a string of less than 23 characters with two letters"


# --- numbers --------------------------------------------------------------

def an_integer(value):
    return None if type(value) is int else "must be an integer"


def an_int64(value):
    if type(value) is int and -INT64_MAX - 1 <= value <= INT64_MAX:
        return None
    return "must be an integer of 64 bits"


def a_count(value):
    if type(value) is int and value >= 0:
        return None
    return "must be an integer of zero or more"


def a_number(value):
    if type(value) is int or type(value) is float and math.isfinite(value):
        return None
    return "must be a number"


def a_share(value):
    """SPEC 5: 0 to 1."""
    if a_number(value) is None and 0 <= value <= 1:
        return None
    return "must be a number from 0 to 1"


def a_number_or_its_text(value):
    """SPEC 4: value alone is shown as numeric text, too."""
    if type(value) is str and NUMERIC_TEXT.fullmatch(value):
        return None
    return a_number(value)


def a_flag(value):
    """SPEC 5: 0 or 1, no boolean."""
    if type(value) is int and value in (0, 1):
        return None
    return "must be 0 or 1"


# --- others ---------------------------------------------------------------

def a_boolean(value):
    return None if type(value) is bool else "must be true or false"


def a_boolean_or_flag(value):
    """Where the SPEC names no type and libraries use both (choice)."""
    if type(value) in (bool, int) and value in (0, 1):
        return None
    return "must be true, false, 0 or 1"


def a_string_or_number(value):
    """Where the SPEC names no type (choice)."""
    if type(value) is str or a_number(value) is None:
        return None
    return "must be a string or a number"


def a_list_of_strings(value):
    if type(value) is list and all(type(item) is str for item in value):
        return None
    return "must be an array of strings"


def strings(value):
    """A string or a list of strings (SPEC 3.2, the eleven)."""
    if type(value) is str or a_list_of_strings(value) is None:
        return None
    return "must be a string or an array of strings"
