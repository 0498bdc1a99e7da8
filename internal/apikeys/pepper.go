package apikeys

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// minPepperLength is in bytes. 16 random bytes can't be guessed.
const minPepperLength = 16

var pepperVersion = regexp.MustCompile(`^v[1-9][0-9]{0,8}$`)

// Peppers are the secrets that keys are hashed with. New keys use the first; the
// others still verify older keys, so that a pepper can be rotated. Without the
// pepper a database dump doesn't help to guess or use a key.
type Peppers struct {
	current  string
	versions map[string][]byte
}

// ParsePeppers reads a list like "v2:SECRET,v1:SECRET", newest first; a single
// SECRET without a version is v1. Secrets are at least 16 bytes and
// contain no comma. The error names every fault and repeats no secret.
func ParsePeppers(list string) (*Peppers, error) {
	p := &Peppers{versions: map[string][]byte{}}
	var faults []error
	entries := strings.Split(list, ",")
	for i, entry := range entries {
		version, secret, found := strings.Cut(strings.TrimSpace(entry), ":")
		if !found && len(entries) == 1 {
			version, secret = "v1", strings.TrimSpace(entry)
		}
		switch {
		case !pepperVersion.MatchString(version):
			faults = append(faults, fmt.Errorf("pepper %d has no version: use v1:SECRET", i+1))
		case p.versions[version] != nil:
			faults = append(faults, fmt.Errorf("pepper version %s is repeated", version))
		case len(secret) < minPepperLength:
			faults = append(faults, fmt.Errorf("pepper %s is shorter than %d bytes", version, minPepperLength))
		default:
			p.versions[version] = []byte(secret)
			if p.current == "" {
				p.current = version
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return p, nil
}

// Hash returns the HMAC-SHA256 of key under the current pepper, and that
// pepper's version.
func (p *Peppers) Hash(key string) (mac []byte, version string) {
	return sum(p.versions[p.current], key), p.current
}

// Verify reports whether mac is the HMAC of key under the pepper of that
// version, in time that depends on neither. An unknown version verifies
// nothing, in the same time.
func (p *Peppers) Verify(key, version string, mac []byte) bool {
	secret, known := p.versions[version]
	return hmac.Equal(mac, sum(secret, key)) && known
}

// Derive returns a 32-byte key for another purpose, named by label, so that an
// installation needs only one secret.
func (p *Peppers) Derive(label string) []byte {
	return sum(p.versions[p.current], "ratelimiter derive "+label)
}

func sum(secret []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}
