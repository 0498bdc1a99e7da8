package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/mail"
	"strings"
	"unicode"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// OrderService places and reads orders.
type OrderService interface {
	// Create stores a pending order and returns it, once for each idempotency
	// key: replayed says that an earlier request has had the same outcome. An
	// unknown product and a key that came with another order are a
	// *models.InvalidError.
	Create(ctx context.Context, spec models.NewOrder) (order models.Order, replayed bool, err error)
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

// createOrder is the body of POST /v1/orders.
type createOrder struct {
	Items        []createItem `json:"items" validate:"required" minItems:"1" maxItems:"200"`
	Email        string       `json:"email" validate:"required" maxLength:"254" format:"email" example:"a@example.com"` // where the confirmation goes
	PaymentToken string       `json:"payment_token" validate:"required" minLength:"1" maxLength:"255" example:"tok_ok"` // the payment provider's; in dev mode tok_ok pays
}

type createItem struct {
	ProductID string `json:"product_id" validate:"required" minLength:"1" maxLength:"64" example:"prd_0y5apuf8zs"`
	Quantity  int64  `json:"quantity" validate:"required" minimum:"1" maximum:"10000" example:"2"`
}

// Bounds of an order. An invoice of 200 lines is still a document; 254 bytes
// is the longest address that mail servers take (RFC 5321, erratum 1690).
const (
	maxItems        = 200
	maxQuantity     = 10_000
	maxProductID    = 64
	maxEmail        = 254
	maxPaymentToken = 255
)

func (o *createOrder) validate(faults *models.Faults) {
	switch {
	case len(o.Items) == 0:
		faults.Body("/items", "required", "must have at least one item")
	case len(o.Items) > maxItems:
		faults.Body("/items", "max_items", fmt.Sprintf("must have at most %d items", maxItems))
	}
	for i, item := range o.Items {
		item.validate(faults, fmt.Sprintf("/items/%d", i))
	}
	switch {
	case o.Email == "":
		faults.Body("/email", "required", "must not be empty")
	case len(o.Email) > maxEmail:
		faults.Body("/email", "max_length", fmt.Sprintf("must be at most %d bytes", maxEmail))
	case !isEmail(o.Email):
		faults.Body("/email", "email", "must be an email address, such as a@example.com")
	}
	switch {
	case o.PaymentToken == "":
		faults.Body("/payment_token", "required", "must not be empty")
	case len(o.PaymentToken) > maxPaymentToken:
		faults.Body("/payment_token", "max_length", fmt.Sprintf("must be at most %d bytes", maxPaymentToken))
	}
}

func (i *createItem) validate(faults *models.Faults, at string) {
	switch {
	case i.ProductID == "":
		faults.Body(at+"/product_id", "required", "must not be empty")
	case len(i.ProductID) > maxProductID:
		faults.Body(at+"/product_id", "max_length", fmt.Sprintf("must be at most %d bytes", maxProductID))
	}
	switch {
	case i.Quantity < 1:
		faults.Body(at+"/quantity", "min", "must be at least 1")
	case i.Quantity > maxQuantity:
		faults.Body(at+"/quantity", "max", fmt.Sprintf("must be at most %d", maxQuantity))
	}
}

// isEmail reports whether s is one bare address (RFC 5322), without a name and
// without characters that can't be seen.
func isEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }
	return err == nil && address.Name == "" && address.Address == s && !strings.ContainsFunc(s, hidden)
}

// Create answers POST /v1/orders.
//
//	@Summary		Place an order
//	@Description	Stores the order as pending, at today's prices. It is processed afterwards.
//	@Description
//	@Description	With an Idempotency-Key it is safe to send the order again when its answer was lost: for 24 hours the same key and order give the first answer once more, and no second order.
//	@Tags			orders
//	@ID				createOrder
//	@Accept			json
//	@Produce		json
//	@Param			Idempotency-Key	header	string		false	"A text of your own for this order, of 1 to 255 visible ASCII characters, such as a UUID"	minlength(1)	maxlength(255)
//	@Param			order	body		createOrder	true	"What to order"
//	@Success		201		{object}	models.Order
//	@Header			201		{string}	Location	"Where the order is"
//	@Header			201		{string}	Idempotency-Replayed	"true: this is the answer to an earlier request with the same key, and nothing was ordered again"
//	@Failure		400		{object}	models.Problem
//	@Failure		409		{object}	models.Problem	"Another request with this Idempotency-Key is being carried out: ask again after Retry-After."
//	@Header			409		{integer}	Retry-After	"Seconds to wait"
//	@Failure		413		{object}	models.Problem
//	@Failure		415		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Header			422		{string}	Idempotency-Replayed	"true: this is the answer to an earlier request with the same key"
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders [post]
func (h *Orders) Create(c *gin.Context) {
	var body createOrder
	var faults models.Faults
	key := readIdempotencyKey(c, &faults)
	if err := joinFaults(readBody(c, &body), faults); err != nil {
		fail(c, err)
		return
	}
	spec := body.toModel(models.RequestFrom(c).Key.Owner)
	spec.IdempotencyKey = key
	order, replayed, err := h.orders.Create(c.Request.Context(), spec)
	markReplayed(c, replayed)
	if err != nil {
		fail(c, err)
		return
	}
	c.Header("Location", "/v1/orders/"+order.ID)
	c.JSON(http.StatusCreated, order)
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
//	@Param			limit	query		int		false	"Most items on the page"	minimum(1)	maximum(100)	default(20)
//	@Param			cursor	query		string	false	"Where the page starts: next_cursor of the page before"
//	@Param			If-None-Match	header	string	false	"Entity tags of answers that you have"
//	@Success		200		{object}	List[models.Order]
//	@Header			200	{string}	ETag	"Entity tag of this content: send it as If-None-Match, to get it again only when it has changed"
//	@Success		304	"You have it: it is as one of the tags in If-None-Match says."
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders [get]
func (h *Orders) List(c *gin.Context) {
	after, limit, err := readPage(c, h.cursors, "orders")
	if err != nil {
		fail(c, err)
		return
	}
	page, err := h.orders.List(c.Request.Context(), models.RequestFrom(c).Key.Owner, after, limit)
	if err != nil {
		fail(c, err)
		return
	}
	writeTaggedPage(c, h.cursors, "orders", page)
}

// Get answers GET /v1/orders/{id}.
//
//	@Summary		Get an order
//	@Description	One order of the key's owner. Somebody else's is not found.
//	@Tags			orders
//	@ID				getOrder
//	@Produce		json
//	@Param			id	path		string	true	"The order's id"
//	@Param			If-None-Match	header	string	false	"Entity tags of answers that you have"
//	@Success		200	{object}	models.Order
//	@Header			200	{string}	ETag	"Entity tag of this content: send it as If-None-Match, to get it again only when it has changed"
//	@Success		304	"You have it: it is as one of the tags in If-None-Match says."
//	@Header			304	{string}	ETag	"Entity tag of the content"
//	@Failure		404	{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/orders/{id} [get]
func (h *Orders) Get(c *gin.Context) {
	order, err := h.orders.Get(c.Request.Context(), models.RequestFrom(c).Key.Owner, c.Param("id"))
	if err != nil {
		fail(c, err)
		return
	}
	writeTagged(c, order)
}
