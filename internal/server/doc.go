// Package server holds the route table, the router and the HTTP servers. The
// comment below is the general part of the API description.
//
//	@title			RateLimiter API
//	@version		1.0.0
//	@description	A small shop with rate limits per API key. The [guide](/guide/) has the details.
//	@description
//	@description	- **Key:** press **Authorize** and enter the key that `make run` printed, or that the operator gave you.
//	@description	- **Limits:** `RateLimit` in each response has what remains. Above a limit: 429, `Retry-After`, no cost. [More](/guide/limits)
//	@description	- **Errors** are `application/problem+json` with a stable `code`. [Codes and retries](/guide/errors-and-retries)
//	@description	- **Values:** times are RFC 3339 in UTC, durations are seconds, money is in minor units, ids are opaque.
//	@BasePath		/
//
//	@tag.name			products
//	@tag.description	The products of the shop.
//	@tag.name			orders
//	@tag.description	Orders and their state. An order belongs to the owner of the key that placed it.
//	@tag.name			events
//	@tag.description	What happens to orders, to be followed by polling, long polling, Server-Sent Events and WebSockets.
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
