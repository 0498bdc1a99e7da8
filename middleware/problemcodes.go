package middleware

// ProblemCode is the code of a problem.
type ProblemCode string

// The codes of problems. Below the status, packages name their own.
const (
	ProblemMalformedRequest      ProblemCode = "malformed_request"       // 400: the body, the query string or the URL can't be parsed
	ProblemKeyMissing            ProblemCode = "key_missing"             // 401: no API key was sent
	ProblemKeyRepeated           ProblemCode = "key_repeated"            // 401: more than one API key was sent
	ProblemKeyInURL              ProblemCode = "key_in_url"              // 401: the URL contains an API key
	ProblemKeyInvalid            ProblemCode = "key_invalid"             // 401: the key is malformed, unknown, expired or revoked
	ProblemTicketInvalid         ProblemCode = "ticket_invalid"          // 401: the ticket is unknown, used or expired, or its key isn't valid
	ProblemScopeMissing          ProblemCode = "scope_missing"           // 403: the key doesn't hold the scope that the detail names
	ProblemAdminRequired         ProblemCode = "admin_required"          // 403: only the scope admin allows this
	ProblemAddressNotAllowed     ProblemCode = "address_not_allowed"     // 403: the key may not be used from this address
	ProblemOriginNotAllowed      ProblemCode = "origin_not_allowed"      // 403: pages of this origin may not open WebSockets
	ProblemKeySuspended          ProblemCode = "key_suspended"           // 403: the key is suspended, an operator can resume it; 409: a suspended key can't be rotated
	ProblemForbidden             ProblemCode = "forbidden"               // 403: the key doesn't allow this
	ProblemNotFound              ProblemCode = "not_found"               // 404: the path or the resource doesn't exist, or the resource belongs to another owner
	ProblemMethodNotAllowed      ProblemCode = "method_not_allowed"      // 405: the path doesn't support the method; Allow lists those that it does
	ProblemNotAcceptable         ProblemCode = "not_acceptable"          // 406: Accept excludes the media type of the response
	ProblemConflict              ProblemCode = "conflict"                // 409: the state of the resource doesn't allow this
	ProblemLastAdminKey          ProblemCode = "last_admin_key"          // 409: without this key nobody could administer the server
	ProblemKeyRotated            ProblemCode = "key_rotated"             // 409: the key was rotated; change its successor
	ProblemKeyEnded              ProblemCode = "key_ended"               // 409: the key is revoked or expired, which is final
	ProblemPlanInUse             ProblemCode = "plan_in_use"             // 409: keys are on the plan
	ProblemSKUInUse              ProblemCode = "sku_in_use"              // 409: another product has the SKU
	ProblemNotRedrivable         ProblemCode = "not_redrivable"          // 409: the message can't be decoded; it can only be discarded
	ProblemOrderNotCancellable   ProblemCode = "order_not_cancellable"   // 409: the order is confirmed, or its payment is being captured
	ProblemIdempotencyInProgress ProblemCode = "idempotency_in_progress" // 409: another request with this idempotency key is in progress; repeat after Retry-After
	ProblemCursorExpired         ProblemCode = "cursor_expired"          // 410: events after the cursor aren't available any more; continue from next_cursor
	ProblemVersionMismatch       ProblemCode = "version_mismatch"        // 412: If-Match names a stale version; read the resource again
	ProblemBodyTooLarge          ProblemCode = "body_too_large"          // 413: the body is larger than 64 KiB
	ProblemUnsupportedMediaType  ProblemCode = "unsupported_media_type"  // 415: the body isn't JSON in UTF-8, or is compressed
	ProblemInvalidInput          ProblemCode = "invalid_input"           // 422: the input has faults, and errors lists every one
	ProblemUpgradeRequired       ProblemCode = "upgrade_required"        // 426: the path is a WebSocket's
	ProblemRateLimited           ProblemCode = "rate_limited"            // 429: a policy refused and nothing was charged; repeat after Retry-After
	ProblemTooManyFailures       ProblemCode = "too_many_failures"       // 429: too many invalid keys from this address; repeat after Retry-After
	ProblemTooManyRotations      ProblemCode = "too_many_rotations"      // 429: the key was rotated too often; repeat after Retry-After
	ProblemTooManyTickets        ProblemCode = "too_many_tickets"        // 429: the owner has too many unused tickets; repeat after Retry-After
	ProblemInternalError         ProblemCode = "internal_error"          // 500: an internal error, which request_id identifies in the server's log
	ProblemUnavailable           ProblemCode = "unavailable"             // 503: a dependency is unavailable; repeat after Retry-After
	ProblemQuotaUnavailable      ProblemCode = "quota_unavailable"       // 503: a calendar quota can't be decided without the database; repeat after Retry-After
	ProblemQueueFull             ProblemCode = "queue_full"              // 503: orders are not accepted, because too many messages wait for the message broker
	ProblemPaymentsUnavailable   ProblemCode = "payments_unavailable"    // 503: orders are not accepted, because the server has no payment gateway
	ProblemTooManyReservations   ProblemCode = "too_many_reservations"   // 503: too many open reservations; repeat after Retry-After
	ProblemTooManyStreams        ProblemCode = "too_many_streams"        // 503: too many open event streams; repeat after Retry-After
	ProblemOverloaded            ProblemCode = "overloaded"              // 503: the server is at capacity; repeat after Retry-After
)

// FaultCode is the code of a fault of the input.
type FaultCode string

// The codes of faults. Packages that validate name their own.
const (
	FaultRequired    FaultCode = "required"               // missing or empty
	FaultUnknown     FaultCode = "unknown"                // no such member or parameter, or it names something that doesn't exist
	FaultNull        FaultCode = "null"                   // can't be null
	FaultDuplicate   FaultCode = "duplicate"              // given twice
	FaultType        FaultCode = "type"                   // wrong JSON type
	FaultPattern     FaultCode = "pattern"                // wrong format
	FaultEnum        FaultCode = "enum"                   // not one of the values that the message lists
	FaultEmail       FaultCode = "email"                  // not an email address
	FaultTime        FaultCode = "time"                   // not a time of RFC 3339
	FaultCIDR        FaultCode = "cidr"                   // neither an address nor a network
	FaultUTF8        FaultCode = "utf8"                   // invalid UTF-8
	FaultNUL         FaultCode = "nul"                    // contains a NUL character
	FaultControl     FaultCode = "control"                // contains control or invisible characters
	FaultCursor      FaultCode = "cursor"                 // not a cursor of this list
	FaultMin         FaultCode = "min"                    // too small
	FaultMax         FaultCode = "max"                    // too large, possibly together with another member
	FaultMinLength   FaultCode = "min_length"             // too short
	FaultMaxLength   FaultCode = "max_length"             // too long
	FaultMinItems    FaultCode = "min_items"              // too few items
	FaultMaxItems    FaultCode = "max_items"              // too many items
	FaultMinName     FaultCode = "min_name"               // a member's name is too short
	FaultMaxName     FaultCode = "max_name"               // a member's name is too long
	FaultRange       FaultCode = "range"                  // a range that is empty or too wide
	FaultPast        FaultCode = "past"                   // must be in the future
	FaultReadOnly    FaultCode = "read_only"              // can't be changed
	FaultCurrency    FaultCode = "currency"               // the items have several currencies
	FaultNotAllowed  FaultCode = "not_allowed"            // doesn't belong with the other members
	FaultConcurrency FaultCode = "concurrency"            // the plan has a concurrency policy, whose slot a check would never free; reserve instead
	FaultNotRecorded FaultCode = "not_recorded"           // can't be simulated, because the duration of requests isn't recorded
	FaultReused      FaultCode = "idempotency_key_reused" // the idempotency key was used for another request
)
