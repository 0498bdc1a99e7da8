package redis

import (
	"encoding/base64"
	"encoding/binary"

	"ratelimiter/ratelimit"
)

// Keys of one slot have the same hash tag, the part in braces, and so are on the
// same node of a Cluster:
//
//	rl:{slot}k…      counters of a subject, by the hash of its name
//	rl:{slot}k…:…    list of one of them, by the policy's ID
//	rl:{slot}r:id    record of an open reservation

// tag returns the beginning of the keys of a slot.
func (s *Store) tag(slot uint64) []byte {
	key := append(make([]byte, 0, 64), s.prefix...)
	key = append(key, '{')
	key = appendBase64(key, slot)
	return append(key, '}')
}

// subjectKey returns the key of a subject's counters.
func (s *Store) subjectKey(subject *ratelimit.Subject) string {
	key := append(s.tag(subject.Slot), 'k')
	key = appendBase64(key, subject.Hash[0])
	return string(appendBase64(key, subject.Hash[1]))
}

// listKey returns the key of a policy's list.
func listKey(subjectKey string, p *ratelimit.Compiled) string {
	key := append(make([]byte, 0, 80), subjectKey...)
	return string(appendBase64(append(key, ':'), p.ID()))
}

// recordKey returns the key of a record.
func (s *Store) recordKey(slot uint64, id string) string {
	return string(append(append(s.tag(slot), "r:"...), id...))
}

func appendBase64(to []byte, v uint64) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return base64.RawURLEncoding.AppendEncode(to, b[:])
}
