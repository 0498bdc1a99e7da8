package handlers

import (
	"slices"
	"strconv"
	"strings"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// makeProduct is the input of POST /v1/products.
type makeProduct struct {
	Body createProductRequest `body:"required"`
}

// createProductRequest is a product to create.
//
// It is the body of POST /v1/products.
type createProductRequest struct {
	SKU         string       `json:"sku" validate:"required" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._/-]*$" says:"must be letters, digits, dots, slashes, underscores and hyphens, and begin with a letter or digit" example:"CUP-CAP-2"` // stock keeping unit, which no other product has
	Name        string       `json:"name" validate:"required" minLength:"1" maxLength:"200" pattern:"\\S" says:"must not be blank" example:"Cappuccino cups, set of two"`                                                                                       // name of the product
	Description string       `json:"description" maxLength:"2000" example:"Porcelain, 180 ml, with saucers."`                                                                                                                                                   // description of the product
	Price       moneyRequest `json:"price" validate:"required"`                                                                                                                                                                                                 // price of one unit
	Stock       int64        `json:"stock" minimum:"0" maximum:"1000000000" example:"250"`                                                                                                                                                                      // units that can be ordered; by default none
}

// moneyRequest is an amount in the minor units of a currency: 1999 EUR is 19.99 €.
type moneyRequest struct {
	Amount   int64  `json:"amount" validate:"required" minimum:"0" maximum:"1000000000000" example:"2499"`                                           // amount in minor units
	Currency string `json:"currency" validate:"required" pattern:"^[A-Z]{3}$" says:"must be a currency code of ISO 4217, such as EUR" example:"EUR"` // currency code (ISO 4217)
}

func (r *createProductRequest) toModel() models.NewProduct {
	return models.NewProduct{SKU: r.SKU, Name: r.Name, Description: r.Description, Price: models.Money(r.Price), Stock: r.Stock}
}

// changeProduct is the input of PATCH /v1/products/{id}.
type changeProduct struct {
	ID      string               `uri:"id"`
	IfMatch productMatch         `header:"If-Match"`
	Body    updateProductRequest `body:"required"`
}

// updateProductRequest is a JSON merge patch (RFC 7396) of a product. Absent fields
// stay unchanged. A whole product can be sent back: members that can't be changed
// must be as stored, and those that change by themselves are ignored.
//
// It is the body of PATCH /v1/products/{id}.
type updateProductRequest struct {
	SKU         binding.Optional[string]             `json:"sku" swaggertype:"string" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._/-]*$" says:"must be letters, digits, dots, slashes, underscores and hyphens, and begin with a letter or digit" example:"CUP-ESP-4"` // stock keeping unit, which no other product has
	Name        binding.Optional[string]             `json:"name" swaggertype:"string" minLength:"1" maxLength:"200" pattern:"\\S" says:"must not be blank" example:"Espresso cups, set of four"`                                                                                        // name of the product
	Description binding.Optional[*string]            `json:"description" swaggertype:"string" maxLength:"2000" extensions:"x-nullable" example:"Porcelain, 80 ml, with saucers."`                                                                                                        // description of the product; null: none
	Price       binding.Optional[updateMoneyRequest] `json:"price" swaggertype:"object"`                                                                                                                                                                                                 // price of one unit
	Stock       binding.Optional[int64]              `json:"stock" swaggertype:"integer" minimum:"0" maximum:"1000000000" example:"500"`                                                                                                                                                 // units that can be ordered

	ID        binding.Optional[string]       `json:"id" swaggertype:"string" readonly:"true" example:"prd_0y5apuf8zs"`                                  // as in the path
	UpdatedAt binding.Optional[binding.Time] `json:"updated_at" swaggertype:"string" format:"date-time" readonly:"true" example:"2026-01-15T09:30:00Z"` // ignored
}

// updateMoneyRequest is a JSON merge patch of an amount of money.
type updateMoneyRequest struct {
	Amount   binding.Optional[int64]  `json:"amount" swaggertype:"integer" minimum:"0" maximum:"1000000000000" example:"2999"`                                          // amount in minor units
	Currency binding.Optional[string] `json:"currency" swaggertype:"string" pattern:"^[A-Z]{3}$" says:"must be a currency code of ISO 4217, such as EUR" example:"EUR"` // currency code (ISO 4217)
}

// Validate checks that the product's id isn't changed.
func (r *changeProduct) Validate(faults *models.Faults) {
	if id := r.Body.ID; id.Present && id.Value != r.ID {
		faults.Add("read_only", "can't be changed", "id")
	}
}

// apply applies the patch to a product. Errors: KindPreconditionFailed for a change
// of the stock that If-Match has a condition for and that orders have changed since.
func (r *changeProduct) apply(product *models.Product) error {
	before := *product
	set(&product.SKU, r.Body.SKU)
	set(&product.Name, r.Body.Name)
	if description := r.Body.Description; description.Present {
		product.Description = ""
		if description.Value != nil {
			product.Description = *description.Value
		}
	}
	set(&product.Price.Amount, r.Body.Price.Value.Amount)
	set(&product.Price.Currency, r.Body.Price.Value.Currency)
	set(&product.Stock, r.Body.Stock)
	if product.Stock == before.Stock {
		return nil
	}
	return r.IfMatch.checkContent(before)
}

// versionedProduct identifies a product, optionally in a certain version.
type versionedProduct struct {
	ID      string       `uri:"id"`
	IfMatch productMatch `header:"If-Match"`
}

// productMatch is an If-Match field with entity tags of EncodeProduct.
type productMatch struct {
	models.Precondition
	tags []string
}

// ParseLines parses the tags. Foreign and weak tags match nothing.
func (m *productMatch) ParseLines(lines []string) (code, message string) {
	m.Given = true
	for tag := range listed(lines) {
		m.Any = m.Any || tag == "*"
		version, hash, _ := strings.Cut(tag, "-")
		if n, err := strconv.ParseInt(strings.TrimPrefix(version, `"`), 10, 64); err == nil && hash != "" && tag[0] == '"' {
			m.Versions, m.tags = append(m.Versions, n), append(m.tags, tag)
		}
	}
	return "", ""
}

// checkContent returns an error of KindPreconditionFailed when the field has tags,
// and none is that of the product with its stock.
func (m *productMatch) checkContent(product models.Product) error {
	if !m.Given || m.Any {
		return nil
	}
	current, err := EncodeProduct(product)
	if err != nil || slices.Contains(m.tags, current.ETag[0]) {
		return err
	}
	return &models.Error{Kind: models.KindPreconditionFailed, Message: "The stock has changed since. Read the product again before changing its stock."}
}
