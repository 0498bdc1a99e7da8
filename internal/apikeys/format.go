// Package apikeys generates, parses, hashes and stores API keys, and decides who
// may change which key. Which policies a key has is decided by internal/quota.
package apikeys

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"ratelimiter/models"
)

// A key is PREFIX ID "_" SECRET CRC, with base62 after the prefix:
// 12 characters of id, 22 of secret (130 random bits), and 6 of CRC-32 (IEEE)
// over everything before them. It has 49 or 50 characters, which fit into one
// block of SHA-256.
const (
	prefixLive  = "rl_live_"
	prefixAdmin = "rl_admin_"

	idLength     = 12
	secretLength = 22
	crcLength    = 6

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// generate returns a new key and its id.
func generate(admin bool) (key, id string) {
	prefix := prefixLive
	if admin {
		prefix = prefixAdmin
	}
	id = randomBase62(idLength)
	body := prefix + id + "_" + randomBase62(secretLength)
	return body + checksum(body), id
}

// ParseID returns the id in a presented key, or models.ErrInvalidKey when the
// syntax or the checksum is wrong. It needs no lookup, so that mistyped keys
// cost nothing.
func ParseID(presented string) (string, error) {
	rest, ok := strings.CutPrefix(presented, prefixLive)
	if !ok {
		rest, ok = strings.CutPrefix(presented, prefixAdmin)
	}
	if !ok || len(rest) != idLength+1+secretLength+crcLength || rest[idLength] != '_' {
		return "", models.ErrInvalidKey
	}
	id, secret := rest[:idLength], rest[idLength+1:]
	if !isBase62(id) || !isBase62(secret) {
		return "", models.ErrInvalidKey
	}
	body := presented[:len(presented)-crcLength]
	if checksum(body) != presented[len(body):] {
		return "", models.ErrInvalidKey
	}
	return id, nil
}

// checksum returns the CRC-32 of body as six base62 digits.
func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var digits [crcLength]byte
	for i := crcLength - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// randomBase62 returns n characters from the system's random source, each of
// the 62 equally likely.
func randomBase62(n int) string {
	const fair = 256 / len(base62) * len(base62) // larger bytes would favour the first digits
	out := make([]byte, 0, n)
	var random [32]byte
	for len(out) < n {
		_, _ = rand.Read(random[:]) // never fails: it ends the program instead (Go 1.24)
		for _, b := range random {
			if int(b) < fair && len(out) < n {
				out = append(out, base62[int(b)%len(base62)])
			}
		}
	}
	return string(out)
}

func isBase62(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
