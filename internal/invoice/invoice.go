// Package invoice draws the invoice of an order as a PDF. Drawing is a pure
// function without I/O or a clock: the same invoice gives the same bytes, so
// that it can be tagged and cached.
//
// A drawing takes milliseconds of CPU time, most of it to parse and subset
// fonts. Callers limit how many run at once.
package invoice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"ratelimiter/models"
)

// Version is part of every tag. Raise it when the drawing of the same invoice
// changes, so that clients discard the old one.
const Version = 2

// Draw returns the invoice as a PDF. It is safe for concurrent use. It checks
// ctx before each page and before the final encoding. Errors: ctx's, and
// failures to draw.
func Draw(ctx context.Context, inv models.Invoice) ([]byte, error) {
	set := newTypesetter()
	sheets := paginate(set, inv)
	d := newDrawing(set, inv)
	for i, s := range sheets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d.sheet(s, i+1, len(sheets))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.bytes()
}

// Tag returns a strong entity tag of the PDF that Draw returns, at a thousandth
// of its cost. Invoices with equal content have the same tag.
func Tag(inv models.Invoice) string { return tag(Version, inv) }

func tag(version int, inv models.Invoice) string {
	hash := sha256.New()
	hash.Write([]byte(strconv.Itoa(version)))
	if err := json.NewEncoder(hash).Encode(inv); err != nil { // an Invoice always encodes
		panic(err)
	}
	return `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`
}
