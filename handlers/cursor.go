package handlers

import (
	"encoding/json"
	"errors"

	"ratelimiter/internal/cursor"
	"ratelimiter/models"
)

// Cursors encodes positions in lists as opaque, signed, URL-safe texts.
type Cursors struct {
	signer *cursor.Signer
}

// NewCursors returns Cursors that sign with secret.
func NewCursors(secret []byte) *Cursors { return &Cursors{signer: cursor.NewSigner(secret)} }

var errCursor = errors.New("not a cursor of this list")

func (s *Cursors) encode(list string, p models.Position) string {
	data, err := json.Marshal(p)
	if err != nil { // two strings
		panic(err)
	}
	return s.signer.Encode(list, data)
}

func (s *Cursors) decode(list, text string) (*models.Position, error) {
	data, ok := s.signer.Decode(list, text)
	if !ok {
		return nil, errCursor
	}
	var p models.Position
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, errCursor
	}
	return &p, nil
}
