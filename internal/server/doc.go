// Package server holds the route table, the router and the HTTP servers. The
// comment below is the general part of the API description.
//
//	@title			RateLimiter API
//	@version		1.0.0
//	@description	A small shop with rate limits per API key. Every response reports the state of the limits.
//	@description
//	@description	**Get a key** from the operator of the server: `ratelimiter keys create --name mine`. In dev mode (`make run`) the server prints a key at startup and saves it in `.data/dev-keys.json`.
//	@description
//	@description	**Send the key** with every request, in one of two ways: `Authorization: Bearer KEY` or `X-API-Key: KEY`. On the page *Try it*, press **Authorize** and enter it once.
//	@description
//	@description	**Rate limits** are reported in the response headers: `RateLimit-Policy` lists the policies that apply, `RateLimit` the units `r` of each that can be spent now, and the seconds `t` within which no more can be spent. A request over the limit gets 429 with `Retry-After` and costs nothing. The cost of each operation is shown below; `GET /v1/me/limits` returns the state of all limits and costs nothing.
//	@description
//	@description	**Errors** are `application/problem+json` (RFC 9457) with a stable `code`: `malformed_request`, `key_missing`, `key_invalid`, `key_repeated`, `key_in_url`, `scope_missing`, `admin_required`, `address_not_allowed`, `key_suspended`, `forbidden`, `not_found`, `method_not_allowed`, `not_acceptable`, `conflict`, `last_admin_key`, `key_rotated`, `key_ended`, `plan_in_use`, `idempotency_in_progress`, `version_mismatch`, `body_too_large`, `unsupported_media_type`, `invalid_input`, `rate_limited`, `too_many_failures`, `too_many_rotations`, `unavailable`, `quota_unavailable`, `too_many_reservations`, `overloaded`, `internal_error`. More may be added. A 422 lists all faults of the input at once, each with its location, a stable code and a message. Every response has an `X-Request-Id`, which the server also logs.
//	@description
//	@description	**Fault codes** are, for presence, `required`, `unknown`, `null`, `duplicate`; for format, `type`, `pattern`, `enum`, `email`, `time`, `cidr`, `utf8`, `nul`, `control`, `cursor`; for size, `min`, `max`, `min_length`, `max_length`, `min_items`, `max_items`, `min_name`, `max_name`, `range`; for meaning, `past`, `read_only`, `currency`, `not_allowed`, `concurrency`, `not_recorded`, `idempotency_key_reused`. More may be added.
//	@description
//	@description	**Values**: times are RFC 3339 in UTC; durations in responses are in seconds; money is in minor units with a currency (1999 EUR is 19.99 €); ids are opaque. A request body is JSON of at most 64 KiB. Unknown fields and unknown query parameters are rejected.
//	@description
//	@description	**Lists** are paginated: send `next_cursor` as `cursor`, or follow `Link`. On the last page `next_cursor` is null.
//	@description
//	@description	**Retries** are safe for reads, and for orders with an `Idempotency-Key`. After a 429, a 503, or a 409 with `Retry-After`, wait for that time.
//	@description
//	@description	**Conditional requests**: a read with `If-None-Match` and the `ETag` of an earlier response gets 304 while the content is unchanged. A change of a key or plan with `If-Match` succeeds only if it hasn't been changed since.
//	@description
//	@description	**Payments in dev mode**: use the payment token `tok_ok`. Orders stay pending; nothing processes them yet.
//	@description
//	@description	The Go package `ratelimiter/client` implements all of this, and waits before the quota is used up.
//	@BasePath		/
//
//	@tag.name			products
//	@tag.description	The products of the shop.
//	@tag.name			orders
//	@tag.description	Orders and their state. An order belongs to the owner of the key that placed it.
//	@tag.name			limits
//	@tag.description	The rate limiter as a service, for resources of your own.
//	@tag.name			me
//	@tag.description	Your key, its limits and its usage. These requests cost nothing, up to 50 per second.
//	@tag.name			keys
//	@tag.description	API keys, for operators.
//	@tag.name			plans
//	@tag.description	Plans, which are named lists of policies, for operators.
//	@tag.name			limiter
//	@tag.description	The global enforcement mode, for operators.
//	@tag.name			queues
//	@tag.description	Message queues and dead letters.
//	@tag.name			audit
//	@tag.description	The audit of all changes, for operators.
//	@tag.name			health
//	@tag.description	Liveness and readiness of the server.
//
//	@security					BearerAuth
//	@security					ApiKeyAuth
//
//	@securityDefinitions.apikey	BearerAuth
//	@in							header
//	@name						Authorization
//	@securityDefinitions.apikey	ApiKeyAuth
//	@in							header
//	@name						X-API-Key
package server
