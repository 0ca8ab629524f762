"""A strict stand-in for the events edge of Meta's Conversions API.

Shares no code with capi.  "SPEC n" in comments names a section of the
project's fact sheet about the API; "choice" marks what that sheet leaves open
and the sandbox had to decide (all choices are listed in README.md).

errors     the error bodies
fields     which fields exist, their types and fixed values
rules      whether one event is acceptable
batch      whether a whole request is acceptable: body, token, dataset, events
store      what was accepted, every request, tokens; kept in memory
misbehave  planned failures
httpd      HTTP and TLS connections
control    the /sandbox/ API that tests use
tls        throw-away certificates
"""
