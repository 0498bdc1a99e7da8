package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// OrderService places, reads and cancels orders.
type OrderService interface {
	// Create stores a pending order and returns it, once per idempotency key;
	// replayed reports that the outcome is an earlier request's. Unknown
	// products, and a key used for another order, are errors of
	// models.KindInvalid.
	Create(ctx context.Context, spec models.NewOrder) (order models.Order, replayed bool, err error)
	// List returns up to limit of the owner's orders, newest first, starting
	// after the position after (nil: the start), with the first 10 items of each.
	List(ctx context.Context, owner string, after *models.Position, limit int) (models.Page[models.Order], error)
	// Get returns one of the owner's orders, or models.ErrNotFound.
	Get(ctx context.Context, owner, id string) (models.Order, error)
	// Cancel cancels one of the owner's orders and returns it, also if it is cancelled
	// already. Errors: models.ErrNotFound; models.KindConflict if it is too late.
	Cancel(ctx context.Context, owner, id string) (models.Order, error)
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

// placeOrder is the input of POST /v1/orders.
type placeOrder struct {
	// Unique key of the order, chosen by the client, such as a UUID. Within 24
	// hours, a request with the same key and order gets the first response.
	IdempotencyKey string `header:"Idempotency-Key" minLength:"1" maxLength:"255" pattern:"^[!-~]*$" says:"must be of visible ASCII characters, without spaces"`

	Body createOrderRequest `body:"required"`
}

// createOrderRequest is an order to place.
//
// It is the body of POST /v1/orders. 200 items keep the invoice readable. 254
// characters is the longest address that mail servers accept (RFC 5321, erratum
// 1690).
type createOrderRequest struct {
	Items        []orderItemRequest `json:"items" validate:"required" minItems:"1" maxItems:"200"`                            // items to order
	Email        string             `json:"email" validate:"required" maxLength:"254" format:"email" example:"a@example.com"` // address for the confirmation
	PaymentToken string             `json:"payment_token" validate:"required" minLength:"1" maxLength:"255" example:"tok_ok"` // token of the payment provider; in dev mode tok_ok pays
}

// orderItemRequest is one line of an order.
type orderItemRequest struct {
	ProductID string `json:"product_id" validate:"required" minLength:"1" maxLength:"64" example:"prd_0y5apuf8zs"` // id of the product
	Quantity  int64  `json:"quantity" validate:"required" minimum:"1" maximum:"10000" example:"2"`                 // number of units
}

// Create handles POST /v1/orders.
//
//	@Summary		Place an order
//	@Description	Stores the order as pending, at the current prices. It is processed asynchronously.
//	@Description
//	@Description	With an Idempotency-Key the request can be retried safely: for 24 hours, requests with the same key and order get the first response, and no second order is placed.
//	@Tags			orders
//	@ID				createOrder
//	@Accept			json
//	@Produce		json
//	@Param			request	header		placeOrder	false	"Options"
//	@Param			order	body		createOrderRequest	true	"The order"
//	@Success		201		{object}	models.Order
//	@Header			201		{string}	Location	"Path of the order"
//	@Header			201		{string}	Idempotency-Replayed	"true: the response to an earlier request with the same key; no second order was placed"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		409		{object}	middleware.Problem	"A request with this Idempotency-Key is in progress. Retry after the time in Retry-After."
//	@Header			409		{integer}	Retry-After	"Seconds after which to retry"
//	@Failure		413		{object}	middleware.Problem
//	@Failure		415		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Header			422		{string}	Idempotency-Replayed	"true: the response to an earlier request with the same key"
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
//	@Description	The orders of the key's owner, newest first, with the first 10 items of each.
//	@Tags			orders
//	@ID				listOrders
//	@Produce		json
//	@Param			page	query		page	false	"Page"
//	@Param			If-None-Match	header	string	false	"ETags of earlier responses"
//	@Success		200		{object}	List[models.Order]
//	@Header			200	{string}	ETag	"Entity tag of the content, for If-None-Match"
//	@Success		304	"Not modified"
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
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
//	@Description	An order of the key's owner. Orders of other owners are not found.
//	@Tags			orders
//	@ID				getOrder
//	@Produce		json
//	@Param			id	path		string	true	"Order id"	example(ord_5HqT1bZr8w)
//	@Param			If-None-Match	header	string	false	"ETags of earlier responses"
//	@Success		200	{object}	models.Order
//	@Header			200	{string}	ETag	"Entity tag of the content, for If-None-Match"
//	@Success		304	"Not modified"
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		404	{object}	middleware.Problem
//	@Router			/v1/orders/{id} [get]
func (h *Orders) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		order, err := h.orders.Get(c.Request.Context(), keyOf(c).Owner, in.ID)
		respondTagged(c, order, err)
	}
}

// Cancel handles POST /v1/orders/{id}/cancel.
//
//	@Summary		Cancel an order
//	@Description	Cancels a pending order, unless its payment is being captured. What is held for it is given back soon: the stock, and the amount that was authorized. An order that is cancelled already is returned as it is.
//	@Tags			orders
//	@ID				cancelOrder
//	@Produce		json
//	@Param			id	path		string	true	"Order id"	example(ord_5HqT1bZr8w)
//	@Success		200	{object}	models.Order
//	@Failure		404	{object}	middleware.Problem
//	@Failure		409	{object}	middleware.Problem	"The order is confirmed, or its payment is being captured"
//	@Router			/v1/orders/{id}/cancel [post]
func (h *Orders) Cancel(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		order, err := h.orders.Cancel(c.Request.Context(), keyOf(c).Owner, in.ID)
		respond(c, http.StatusOK, order, err)
	}
}
