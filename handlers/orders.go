package handlers

import (
	"context"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// OrderService places and reads orders.
type OrderService interface {
	// Create stores a pending order and returns it, once per idempotency key;
	// replayed reports that the outcome is an earlier request's. Unknown
	// products, and a key used for another order, are errors of
	// models.KindInvalid.
	Create(ctx context.Context, spec models.NewOrder) (order models.Order, replayed bool, err error)
	// List returns up to limit of the owner's orders, newest first, starting
	// after the position after (nil: the start).
	List(ctx context.Context, owner string, after *models.Position, limit int) (models.Page[models.Order], error)
	// Get returns one of the owner's orders, or models.ErrNotFound.
	Get(ctx context.Context, owner, id string) (models.Order, error)
}

// Orders serves /v1/orders.
type Orders struct {
	orders  OrderService
	cursors *Cursors
}

// NewOrders returns the handlers of /v1/orders.
func NewOrders(orders OrderService, cursors *Cursors) *Orders {
	return &Orders{orders: orders, cursors: cursors}
}

// placeOrder is what POST /v1/orders takes.
type placeOrder struct {
	// A text of your own for this order, such as a UUID: sent again with the
	// same order within 24 hours, it gets the first answer once more.
	IdempotencyKey string `header:"Idempotency-Key" minLength:"1" maxLength:"255" pattern:"^[!-~]*$" says:"must be of visible ASCII characters, without spaces"`

	Body createOrder `body:"required"`
}

// createOrder is an order to place.
//
// It is the body of POST /v1/orders. An invoice of 200 lines is still a
// document; 254 characters is the longest address that mail servers take (RFC
// 5321, erratum 1690).
type createOrder struct {
	Items        []createItem `json:"items" validate:"required" minItems:"1" maxItems:"200"`                            // what to order
	Email        string       `json:"email" validate:"required" maxLength:"254" format:"email" example:"a@example.com"` // where the confirmation goes
	PaymentToken string       `json:"payment_token" validate:"required" minLength:"1" maxLength:"255" example:"tok_ok"` // the payment provider's; in dev mode tok_ok pays
}

// createItem is one line of an order.
type createItem struct {
	ProductID string `json:"product_id" validate:"required" minLength:"1" maxLength:"64" example:"prd_0y5apuf8zs"` // which product
	Quantity  int64  `json:"quantity" validate:"required" minimum:"1" maximum:"10000" example:"2"`                 // how many of it
}

// Create handles POST /v1/orders.
//
//	@Summary		Place an order
//	@Description	Stores the order as pending, at today's prices. It is processed afterwards.
//	@Description
//	@Description	With an Idempotency-Key it is safe to send the order again when its answer was lost: for 24 hours the same key and order give the first answer once more, and no second order.
//	@Tags			orders
//	@ID				createOrder
//	@Accept			json
//	@Produce		json
//	@Param			request	header		placeOrder	false	"How"
//	@Param			order	body		createOrder	true	"What to order"
//	@Success		201		{object}	models.Order
//	@Header			201		{string}	Location	"Where the order is"
//	@Header			201		{string}	Idempotency-Replayed	"true: this is the answer to an earlier request with the same key, and nothing was ordered again"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		409		{object}	middleware.Problem	"Another request with this Idempotency-Key is being carried out: ask again after Retry-After."
//	@Header			409		{integer}	Retry-After	"Seconds to wait"
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Header			422		{string}	Idempotency-Replayed	"true: this is the answer to an earlier request with the same key"
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders [post]
func (h *Orders) Create(c *gin.Context) {
	if in, ok := bind(c, placeOrder{}); ok {
		order, replayed, err := h.orders.Create(c.Request.Context(), in.toModel(keyOf(c).Owner))
		markReplayed(c, replayed)
		respondCreated(c, "/v1/orders/"+order.ID, order, err)
	}
}

func (o *placeOrder) toModel(owner string) models.NewOrder {
	items := make([]models.NewItem, len(o.Body.Items))
	for i, item := range o.Body.Items {
		items[i] = models.NewItem(item)
	}
	return models.NewOrder{
		Owner: owner, Items: items, Email: o.Body.Email, PaymentToken: o.Body.PaymentToken, IdempotencyKey: o.IdempotencyKey,
	}
}

// markReplayed marks a response that repeats an earlier one.
func markReplayed(c *gin.Context, replayed bool) {
	if replayed {
		c.Header("Idempotency-Replayed", "true")
		models.RequestFrom(c).Replayed = true
	}
}

// List handles GET /v1/orders.
//
//	@Summary		List orders
//	@Description	The orders of the key's owner, newest first, a page at a time.
//	@Tags			orders
//	@ID				listOrders
//	@Produce		json
//	@Param			page	query		page	false	"Which page"
//	@Param			If-None-Match	header	string	false	"Entity tags of answers that you have"
//	@Success		200		{object}	List[models.Order]
//	@Header			200	{string}	ETag	"Entity tag of this content: send it as If-None-Match, to get it again only when it has changed"
//	@Success		304	"You have it: it is as one of the tags in If-None-Match says."
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders [get]
func (h *Orders) List(c *gin.Context) {
	if in, ok := bind(c, h.cursors.page("orders")); ok {
		orders, err := h.orders.List(c.Request.Context(), keyOf(c).Owner, in.after, in.Limit)
		respondTaggedPage(c, in, orders, err)
	}
}

// Get handles GET /v1/orders/{id}.
//
//	@Summary		Get an order
//	@Description	One order of the key's owner. Somebody else's is not found.
//	@Tags			orders
//	@ID				getOrder
//	@Produce		json
//	@Param			id	path		string	true	"The order's id"	example(ord_5HqT1bZr8w)
//	@Param			If-None-Match	header	string	false	"Entity tags of answers that you have"
//	@Success		200	{object}	models.Order
//	@Header			200	{string}	ETag	"Entity tag of this content: send it as If-None-Match, to get it again only when it has changed"
//	@Success		304	"You have it: it is as one of the tags in If-None-Match says."
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		404	{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders/{id} [get]
func (h *Orders) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		order, err := h.orders.Get(c.Request.Context(), keyOf(c).Owner, in.ID)
		respondTagged(c, order, err)
	}
}
