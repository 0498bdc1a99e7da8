package handlers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"

	"ratelimiter/models"
)

// Cursors encodes positions in lists as opaque, signed, URL-safe texts. Because of
// the signature the content needs no validation and may change.
type Cursors struct {
	secret []byte
}

// NewCursors returns Cursors that sign with secret.
func NewCursors(secret []byte) *Cursors { return &Cursors{secret: secret} }

// macLength is in bytes. 96 bits can't be guessed over the network.
const macLength = 12

var errCursor = errors.New("not a cursor of this list")

func (s *Cursors) encode(list string, p models.Position) string {
	data, err := json.Marshal(p)
	if err != nil { // two strings
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(append(s.mac(list, data), data...))
}

func (s *Cursors) decode(list, text string) (*models.Position, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < macLength {
		return nil, errCursor
	}
	mac, data := raw[:macLength], raw[macLength:]
	if !hmac.Equal(mac, s.mac(list, data)) {
		return nil, errCursor
	}
	var p models.Position
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, errCursor
	}
	return &p, nil
}

func (s *Cursors) mac(list string, data []byte) []byte {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(list))
	h.Write([]byte{0})
	h.Write(data)
	return h.Sum(nil)[:macLength:macLength]
}
