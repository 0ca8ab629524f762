"""A strict stand-in for the events edge of Meta's Conversions API.

Shares no code with capi.  "SPEC n" in comments names a section of the
project's fact sheet about the API; "choice" marks what that sheet leaves open
and the sandbox had to decide (all choices are listed in README.md).

In the order in which a request meets them:

httpd      HTTP and TLS connections
serve      one request: recorded, failed as planned or judged, answered
request    what a request says
misbehave  planned failures
graph      which call it is
access     version, token, proof, dataset
nodes      what can be read
batch      whether all events of a request are acceptable
schema     whether an event's members are
rules      whether what they say is
fields     which members there are, of what kind, with which fixed values
kinds      the kinds
errors     the error bodies
answer     an answer and its bytes

store      events and requests; kept in memory
tokens     access tokens
control    the /sandbox/ API that tests use
tls        throw-away certificates
"""
