/*
 * response_words.c
 *		Words and titles that are known: what may be kept of a peer's text, and
 *		what is said where nothing of it may.
 *
 * The words are those of Meta's messages as SPEC 8.4 and its sources have them.
 * Whatever else stands in an answer may be a customer's.
 *
 * Pure.  Called by response_mask.c and response.c.
 */
#include "postgres.h"

#include "answer/response.h"

/* Sorted, in lower case. */
static const char *const words[] = {
	"a", "abuse", "abusive", "accepted", "access", "accessing", "account",
	"action", "actual", "ad", "add", "added", "address", "ads", "after",
	"again", "alias", "aliases", "all", "allow", "allowed", "an", "and",
	"api", "app", "application", "appsecret", "are", "argument", "array",
	"as", "at", "attempted", "audience", "authorised", "authorized",
	"available", "bad", "badly", "be", "because", "been", "before", "bit",
	"bits", "blank", "blocked", "body", "boolean", "browser", "business",
	"by", "bytes", "call", "called", "calling", "calls", "cannot",
	"capability", "carries", "case", "catalog", "changed", "characters",
	"charset", "checkpoint", "chunked", "click", "clid", "close", "code",
	"components", "conflicting", "connection", "content", "contents",
	"could", "country", "ct", "ctwa", "currency", "current", "custom",
	"customer", "data", "dataset", "date", "days", "db", "decrypted",
	"deemed", "deleted", "denied", "deprecated", "developer", "device",
	"disallowed", "do", "documentation", "does", "doesn't", "doubled",
	"down", "downtime", "due", "duplicate", "em", "email", "empty",
	"encoding", "enough", "enter", "error", "event", "events", "every",
	"exceeded", "exception", "exist", "expected", "expired", "extended",
	"extinfo", "facebook", "failed", "failure", "false", "far", "fbc", "fbp",
	"field", "fifth", "first", "fn", "following", "for", "foreign", "format",
	"formed", "from", "future", "gateway", "ge", "given", "granted", "graph",
	"guard", "guilty", "has", "hash", "hashed", "have", "haven't", "header",
	"here", "hexadecimal", "historic", "hold", "holds", "http", "https",
	"id", "ids", "ig", "in", "include", "incorrect", "index", "info",
	"information", "input", "insights", "installed", "integer", "internal",
	"invalid", "invalidated", "ios", "ip", "ipv4", "ipv6", "is", "isn't",
	"iso", "it", "items", "json", "key", "known", "lacks", "last", "later",
	"latest", "ldu", "lead", "length", "less", "letters", "level", "lf",
	"limit", "little", "ln", "loaded", "look", "lowercase", "maintenance",
	"make", "malformed", "management", "manager", "many", "match", "meaning",
	"member", "messaging", "meta", "method", "middle", "milliseconds",
	"mismatch", "missing", "more", "most", "msg", "must", "mutations",
	"name", "names", "need", "needed", "needs", "nested", "no", "node",
	"non", "nonexisting", "normalized", "not", "now", "null", "number",
	"oauth", "object", "occurred", "of", "offline", "old", "older", "on",
	"one", "only", "operation", "or", "os", "otherwise", "owner", "page",
	"pages", "parameter", "parameters", "parse", "parsed", "partially",
	"password", "past", "path", "perhaps", "permission", "permissions", "ph",
	"phone", "physical", "pixel", "place", "plain", "plan", "planned",
	"please", "policy", "positive", "post", "proof", "property", "provide",
	"provided", "purchase", "rate", "reached", "read", "ready", "reasons",
	"received", "recorded", "refer", "reference", "refused", "rejected",
	"removed", "request", "requested", "require", "required", "requires",
	"resource", "retired", "retry", "revoked", "right", "sandbox", "schema",
	"scope", "seconds", "security", "seen", "selection", "sending", "sent",
	"server", "service", "session", "sha", "sha256", "should", "side",
	"signature", "so", "some", "st", "state", "stats", "store", "string",
	"strings", "subcode", "such", "sufficient", "support", "supported",
	"system", "take", "takes", "temporarily", "terms", "test", "text",
	"than", "that", "the", "their", "there", "these", "they", "this",
	"throttle", "throttles", "time", "timestamp", "to", "token", "tokens",
	"too", "top", "transfer", "tried", "true", "try", "twice", "two", "type",
	"unavailable", "unconfirmed", "unexpected", "unix", "unknown",
	"unsupported", "update", "upgrade", "upload", "url", "use", "used",
	"user", "using", "utf", "valid", "validating", "validation", "value",
	"values", "version", "waba", "wait", "was", "when", "with", "within",
	"without", "would", "wrong", "you", "your", "zero", "zp",
};

/* Names of Meta's own format; no customer is called so. */
static const char *const names[] = {
	"access_token", "action_source", "advertiser_tracking_enabled", "anon_id",
	"app_data", "application_tracking_enabled", "appsecret_proof",
	"attribution_data", "campaign_ids", "client_ip_address",
	"client_user_agent", "content_category", "content_ids", "content_name",
	"content_type", "contents", "country", "ct", "ctwa_clid", "currency",
	"custom_data", "data", "data_processing_options",
	"data_processing_options_country", "data_processing_options_state", "db",
	"delivery_category", "em", "event_id", "event_name", "event_source_url",
	"event_time", "external_id", "extinfo", "fb_login_id", "fbc", "fbp", "fn",
	"ge", "id", "ig_account_id", "ig_sid", "item_price", "lead_id", "ln",
	"madid", "messaging_channel", "num_items", "opt_out", "order_id",
	"original_event_data", "page_id", "page_scoped_user_id", "ph",
	"predicted_ltv", "quantity", "referrer_url", "search_string", "st",
	"status", "subscription_id", "test_event_code", "user_data", "value",
	"whatsapp_business_account_id", "zp",
};

/*
 * What a code means where its own words cannot be kept (SPEC 8.4): those of a
 * subcode go before those of the code alone.
 */
static const struct
{
	int			code;
	int			subcode;
	const char *title;
}			titles[] = {
	{1, 0, "unknown error, perhaps downtime"},
	{2, 0, "service temporarily down"},
	{3, 0, "capability or permission missing"},
	{4, 0, "request limit of the app"},
	{10, 0, "permission not granted or removed"},
	{17, 0, "request limit of the user or ad account"},
	{32, 0, "request limit of the page"},
	{100, 33, "the dataset does not exist or the token may not use it"},
	{100, 2804001, "fbc is malformed"},
	{100, 2804003, "the event is too old"},
	{100, 2804004, "the event is in the future"},
	{100, 2804009, "a Purchase needs a value"},
	{100, 2804016, "a customer parameter is not hashed"},
	{100, 2804019, "a parameter does not fit the schema"},
	{100, 2804023, "a value needs a currency"},
	{100, 2804036, "the lead id is not valid"},
	{100, 2804043, "extinfo is not valid"},
	{100, 2804050, "too little customer information"},
	{100, 2804066, "the event name is not one for messaging"},
	{100, 2804069, "the page id is not valid"},
	{100, 2804079, "the account id is not valid"},
	{100, 2804087, "ctwa_clid is not valid"},
	{100, 2804116, "a messaging event without page or account id"},
	{100, 0, "invalid parameter"},
	{102, 0, "the session key is not valid"},
	{104, 0, "an access token is required"},
	{105, 0, "too many parameters"},
	{190, 460, "the password was changed"},
	{190, 463, "the token has expired"},
	{190, 467, "the token was revoked"},
	{190, 0, "the token is not valid"},
	{294, 0, "the permission ads_management is missing"},
	{341, 0, "limit of the app, or downtime"},
	{368, 0, "blocked for policy or abuse"},
	{506, 0, "duplicate post"},
	{613, 0, "too many calls"},
	{803, 0, "the id is unknown"},
	{2500, 0, "unknown path"},
	{2635, 0, "the API version is retired"},
	{2650, 0, "the custom audience could not be updated"},
	{2655, 0, "the terms of custom audiences are not accepted"},
	{5000, 0, "unknown error"},
	{21009, 0, "the dataset is not ready for uploads"},
	{1713230, 0, "the custom audience is blocked"},
};

bool
capi_response_is_name(const char *p, size_t len)
{
	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (strlen(names[i]) == len && memcmp(p, names[i], len) == 0)
			return true;
	}
	return false;
}

/* One word without "_", in any letter case. */
static bool
is_word(const char *p, size_t len)
{
	int			low = 0;
	int			high = lengthof(words) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = pg_strncasecmp(p, words[middle], len);

		if (order == 0 && words[middle][len] == '\0')
			return true;
		if (order <= 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return false;
}

bool
capi_response_is_word(const char *p, size_t len)
{
	size_t		start = 0;

	if (capi_response_is_name(p, len))
		return true;
	if (len > 2 && pg_strncasecmp(p + len - 2, "'s", 2) == 0)
		len -= 2;
	for (size_t i = 0; i <= len; i++)
	{
		if (i < len && p[i] != '_')
			continue;
		if (!is_word(p + start, i - start))
			return false;
		start = i + 1;
	}
	return len > 0;
}

const char *
capi_response_title(int code, int subcode)
{
	for (size_t i = 0; i < lengthof(titles); i++)
	{
		if (titles[i].code == code &&
			(titles[i].subcode == subcode || titles[i].subcode == 0))
			return titles[i].title;
	}
	if (code < 0)
		return "internal error of the API";
	if (code >= 200 && code <= 299)
		return "a permission is missing";
	if (code >= 80000 && code <= 80014)
		return "request limit of the business use case";
	return NULL;
}
