// Package server holds the route table, the router and the HTTP servers. The
// comment below is the general part of the API description.
//
//	@title			RateLimiter API
//	@version		1.0.0
//	@description	A small shop whose API limits what each key may do, and says where the key stands in every answer.
//	@description
//	@description	**Get a key** from whoever runs the server: `ratelimiter keys create --name mine`. In dev mode (`make run`) one is printed at the start, and stands in `.data/dev-keys.json`.
//	@description
//	@description	**Send it** with every request, in one of two ways: `Authorization: Bearer KEY` or `X-API-Key: KEY`. On the page *Try it*, press **Authorize** and enter it once.
//	@description
//	@description	**Read the limits** in the response: `RateLimit-Policy` names the policies that apply, `RateLimit` says how much of each is left and when it resets. A refused request gets 429 and `Retry-After`; it costs nothing. Each operation's cost stands below; `GET /v1/me/limits` looks for nothing.
//	@description
//	@description	**Errors** are `application/problem+json` (RFC 9457). A 422 lists every fault at once: its place, a stable code, and a sentence. Every answer has an `X-Request-Id`, which also stands in the server's log.
//	@description
//	@description	**Codes of faults**: of presence `required`, `unknown`, `null`, `duplicate`; of form `type`, `pattern`, `enum`, `email`, `time`, `cidr`, `utf8`, `nul`, `cursor`; of size `min`, `max`, `min_length`, `max_length`, `min_items`, `max_items`, `min_name`, `max_name`, `range`; of meaning `past`, `currency`, `not_allowed`, `concurrency`, `not_recorded`, `idempotency_key_reused`. More may come.
//	@description
//	@description	**Values**: times are RFC 3339 in UTC; durations in answers are seconds; money is in minor units with a currency (1999 EUR is 19.99 €); ids are opaque. A body is JSON of at most 64 KiB, without unknown fields; unknown query parameters are ignored.
//	@description
//	@description	**Lists** come in pages: send `next_cursor` as `cursor`, or follow `Link`; on the last page it is null.
//	@description
//	@description	**Send again** what was lost on its way: reading is safe, and so is placing an order with an `Idempotency-Key` of your own. After a 429, 503 or a 409 with `Retry-After`, wait as long as that says.
//	@description
//	@description	**Ask for what changed**: `If-None-Match` with an `ETag` that you have gives 304 while nothing has. `If-Match` lets a change of a key or plan pass only if nobody has made another one since.
//	@description
//	@description	**Pay in dev mode** with the token `tok_ok`. Orders stay pending: nothing processes them yet.
//	@description
//	@description	In Go, the package `ratelimiter/client` does all of this, and waits before the quota is used up.
//	@BasePath		/
//
//	@tag.name			products
//	@tag.description	What the shop sells.
//	@tag.name			orders
//	@tag.description	What was bought, and how far it has come. Orders belong to the owner of the key.
//	@tag.name			limits
//	@tag.description	The engine as a service, for what you protect yourself.
//	@tag.name			me
//	@tag.description	What my key may do, and where it stands. Costs nothing, up to 50 times a second.
//	@tag.name			keys
//	@tag.description	API keys, for operators.
//	@tag.name			plans
//	@tag.description	Named lists of policies, for operators: what the keys on a plan may do.
//	@tag.name			limiter
//	@tag.description	One switch for all limits, for operators.
//	@tag.name			audit
//	@tag.description	Who changed what, for operators.
//	@tag.name			health
//	@tag.description	Whether the server runs and can serve.
//
//	@securityDefinitions.apikey	BearerAuth
//	@in							header
//	@name						Authorization
//	@securityDefinitions.apikey	ApiKeyAuth
//	@in							header
//	@name						X-API-Key
package server
