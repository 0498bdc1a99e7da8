package limits

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// idPrefix begins the ids of reservations.
const idPrefix = "rsv_"

// Lengths in bytes of the parts of an id. A forged id passes with probability
// 2^-120.
const (
	slotLength = 8
	nameLength = 16
	bodyLength = 1 + slotLength + nameLength
	macLength  = 15
)

// idText encodes 5 bytes in 8 characters. An id has a multiple of 5.
var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// reservationID is the content of an id: where the record of a reservation is. It
// is signed for its owner, so that nobody can look for records that aren't its own.
type reservationID struct {
	shared bool // every instance finds the record; otherwise only its own does
	slot   uint64
	name   string // of the record
}

// newRecordName returns a name that can't be guessed.
func newRecordName() string {
	name := make([]byte, nameLength)
	_, _ = rand.Read(name) // never fails
	return string(name)
}

// text returns the id as its owner sees it.
func (id reservationID) text(key []byte, owner string) string {
	body := make([]byte, 1, bodyLength+macLength)
	if id.shared {
		body[0] = 1
	}
	body = append(binary.BigEndian.AppendUint64(body, id.slot), id.name...)
	return idPrefix + idText.EncodeToString(append(body, idMAC(key, body, owner)...))
}

// parseID returns the content of an id. It is false for texts that aren't ids of
// this owner.
func parseID(key []byte, owner, text string) (id reservationID, ok bool) {
	encoded, found := strings.CutPrefix(text, idPrefix)
	if !found || len(encoded) != idText.EncodedLen(bodyLength+macLength) {
		return id, false
	}
	data, err := idText.DecodeString(encoded)
	if err != nil || len(data) != bodyLength+macLength { // line ends are skipped
		return id, false
	}
	body := data[:bodyLength]
	if !hmac.Equal(data[bodyLength:], idMAC(key, body, owner)) {
		return id, false
	}
	return reservationID{
		shared: body[0] == 1,
		slot:   binary.BigEndian.Uint64(body[1:]),
		name:   string(body[1+slotLength:]),
	}, true
}

// idMAC signs a body, whose length is fixed, for an owner.
func idMAC(key, body []byte, owner string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	mac.Write([]byte(owner))
	return mac.Sum(nil)[:macLength]
}
