// Package invoice draws the invoice of an order as a PDF: a pure function of
// what it says, without I/O, without a clock. The same invoice gives the same
// bytes, so that it can be tagged and cached.
//
// Drawing takes milliseconds of a core (parsing and cutting fonts are most of
// it): callers bound how many are drawn at once. Which orders there are, and
// whose they are, is package shop's.
package invoice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"ratelimiter/models"
)

// Version is part of every tag. Raise it when the same invoice is drawn
// differently, so that nobody keeps the old drawing.
const Version = 1

// Draw returns the invoice as a PDF. It may be called from any number of
// goroutines. Between pages, and before each costly step, it looks at ctx; its
// error is ctx's, or one that says what could not be drawn.
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

// Tag returns a strong entity tag of what Draw would return, at a thousandth of
// its cost: two invoices have the same tag when they say the same.
func Tag(inv models.Invoice) string { return tag(Version, inv) }

func tag(version int, inv models.Invoice) string {
	hash := sha256.New()
	hash.Write([]byte(strconv.Itoa(version)))
	if err := json.NewEncoder(hash).Encode(inv); err != nil { // our own structs of strings, numbers and times
		panic(err)
	}
	return `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`
}
