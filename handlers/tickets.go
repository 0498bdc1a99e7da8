package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// TicketService issues tickets.
type TicketService interface {
	// Issue returns a new ticket of a key. Errors: KindLimited,
	// models.ErrUnavailable.
	Issue(ctx context.Context, key *models.APIKey) (models.Ticket, error)
}

// Tickets serves /v1/tickets.
type Tickets struct{ tickets TicketService }

// NewTickets returns the handler of /v1/tickets.
func NewTickets(tickets TicketService) *Tickets { return &Tickets{tickets: tickets} }

// Create handles POST /v1/tickets.
//
//	@Summary		Get a ticket for a WebSocket
//	@Description	A ticket opens one WebSocket within 30 seconds, as the query parameter `ticket` in place of the API key: browsers can't send a key in the header of a WebSocket, and a key must not be in a URL. The WebSocket is charged to the key that asked for the ticket. An owner can have 100 unused tickets.
//	@Tags			orders
//	@ID				createTicket
//	@Produce		json
//	@Success		201	{object}	models.Ticket
//	@Router			/v1/tickets [post]
func (h *Tickets) Create(c *gin.Context) {
	if _, ok := bind(c, nothing{}); ok {
		ticket, err := h.tickets.Issue(c.Request.Context(), keyOf(c))
		respond(c, http.StatusCreated, ticket, err)
	}
}
