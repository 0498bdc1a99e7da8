// Package cursor encodes positions in lists and streams as opaque, signed, URL-safe
// texts. Because of the signature the content needs no validation and may change.
package cursor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// Signer signs cursors. It is safe for concurrent use.
type Signer struct {
	secret []byte
}

// NewSigner returns a Signer that signs with secret.
func NewSigner(secret []byte) *Signer { return &Signer{secret: secret} }

// macLength is in bytes. 96 bits can't be guessed over the network.
const macLength = 12

// Encode returns the cursor of a position in a list or stream. It is valid only
// there.
func (s *Signer) Encode(list string, position []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(s.mac(list, position), position...))
}

// Decode returns the position of a cursor; ok is false if text isn't a cursor of
// the list.
func (s *Signer) Decode(list, text string) (position []byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < macLength {
		return nil, false
	}
	mac, position := raw[:macLength], raw[macLength:]
	return position, hmac.Equal(mac, s.mac(list, position))
}

func (s *Signer) mac(list string, position []byte) []byte {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(list))
	h.Write([]byte{0})
	h.Write(position)
	return h.Sum(nil)[:macLength:macLength]
}
