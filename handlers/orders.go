package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// OrderService places and reads orders.
type OrderService interface {
	// Create stores a pending order and returns it. An unknown product is a
	// *models.InvalidError.
	Create(ctx context.Context, order models.NewOrder) (models.Order, error)
	// List returns up to limit of the owner's orders, newest first, behind
	// after (nil: from the start).
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
	Body createOrder `body:"required"`
}

// createOrder is the body of POST /v1/orders. An invoice of 200 lines is still a
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

// Create answers POST /v1/orders.
//
//	@Summary		Place an order
//	@Description	Stores the order as pending, at today's prices. It is processed afterwards.
//	@Tags			orders
//	@ID				createOrder
//	@Accept			json
//	@Produce		json
//	@Param			order	body		createOrder	true	"What to order"
//	@Success		201		{object}	models.Order
//	@Header			201		{string}	Location	"Where the order is"
//	@Failure		400		{object}	models.Problem
//	@Failure		413		{object}	models.Problem
//	@Failure		415		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders [post]
func (h *Orders) Create(c *gin.Context) {
	if in, ok := bind(c, placeOrder{}); ok {
		order, err := h.orders.Create(c.Request.Context(), in.Body.toModel(keyOf(c).Owner))
		answerCreated(c, "/v1/orders/"+order.ID, order, err)
	}
}

func (o *createOrder) toModel(owner string) models.NewOrder {
	items := make([]models.NewItem, len(o.Items))
	for i, item := range o.Items {
		items[i] = models.NewItem(item)
	}
	return models.NewOrder{Owner: owner, Items: items, Email: o.Email, PaymentToken: o.PaymentToken}
}

// List answers GET /v1/orders.
//
//	@Summary		List orders
//	@Description	The orders of the key's owner, newest first, a page at a time.
//	@Tags			orders
//	@ID				listOrders
//	@Produce		json
//	@Param			page	query	page	false	"Which page"
//	@Success		200		{object}	List[models.Order]
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders [get]
func (h *Orders) List(c *gin.Context) {
	if in, ok := bind(c, h.cursors.page("orders")); ok {
		orders, err := h.orders.List(c.Request.Context(), keyOf(c).Owner, in.after, in.Limit)
		writePage(c, in, orders, err)
	}
}

// Get answers GET /v1/orders/{id}.
//
//	@Summary		Get an order
//	@Description	One order of the key's owner. Somebody else's is not found.
//	@Tags			orders
//	@ID				getOrder
//	@Produce		json
//	@Param			id	path		string	true	"The order's id"
//	@Success		200	{object}	models.Order
//	@Failure		404	{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders/{id} [get]
func (h *Orders) Get(c *gin.Context) {
	if in, ok := bind(c, byID{}); ok {
		order, err := h.orders.Get(c.Request.Context(), keyOf(c).Owner, in.ID)
		answer(c, http.StatusOK, order, err)
	}
}
