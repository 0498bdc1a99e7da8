package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Tickets resolves one-use tickets.
type Tickets interface {
	// Redeem uses up a ticket and returns its key and that key's quota. Errors:
	// models.ErrInvalidKey (the ticket is unknown, used or expired, or its key has
	// ended), models.ErrKeySuspended, models.ErrUnavailable, ctx's.
	Redeem(ctx context.Context, ticket string, now time.Time) (*models.APIKey, *ratelimit.Quota, error)
}

// ticketParameter is the query parameter that has a ticket.
const ticketParameter = "ticket"

// errTicketRefused covers all reasons, like that of keys.
var errTicketRefused = unauthorized("ticket_invalid", "The ticket is unknown, used or expired, or its API key is not valid. Get a new one with POST /v1/tickets.")

// AuthenticateTicket authenticates a request by the ticket in its query, or by
// authenticate if it has none. A ticket and a key are refused. Failures count as
// those of Authenticate do.
func AuthenticateTicket(tickets Tickets, failures *FailureLimiter, authenticate gin.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		ticket, sent := ticketIn(c.Request)
		if !sent {
			authenticate(c)
			return
		}
		s := stateOf(c)
		if len(withoutEmpty(c.Request.Header["Authorization"]))+len(withoutEmpty(c.Request.Header["X-Api-Key"])) > 0 {
			failAuthentication(c, s, unauthorized("key_repeated", "Send either a ticket or an API key, not both."))
			return
		}
		key, quota, err := redeem(c, tickets, failures, ticket)
		if err != nil {
			failAuthentication(c, s, err)
			return
		}
		s.request.Key, s.request.Quota = key, quota
		c.Next()
	}
}

// redeem redeems a ticket. Addresses with too many failures are slowed.
func redeem(c *gin.Context, tickets Tickets, failures *FailureLimiter, ticket string) (*models.APIKey, *ratelimit.Quota, error) {
	ctx, address := c.Request.Context(), clientAddress(c)
	leave, err := failures.Enter(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	key, quota, err := tickets.Redeem(ctx, ticket, stateOf(c).started)
	if errors.Is(err, models.ErrInvalidKey) {
		if err = failures.invalid(ctx, address); errors.Is(err, models.ErrInvalidKey) {
			err = errTicketRefused
		}
	}
	return key, quota, err
}

// ticketIn returns the ticket in a request, and whether there is one that isn't
// empty.
func ticketIn(r *http.Request) (ticket string, sent bool) {
	if !strings.Contains(r.URL.RawQuery, ticketParameter) {
		return "", false
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // what can't be parsed is a 400 later
	ticket = query.Get(ticketParameter)
	return ticket, ticket != ""
}
