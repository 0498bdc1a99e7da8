package quota

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"
	"unsafe"

	"ratelimiter/ratelimit"
)

// content identifies policies: the hash of a plan's and of the overrides that
// are merged into them.
type content [sha256.Size]byte

// contentOf returns the content of a key's quota at now.
func contentOf(row *keyAndPlan, now time.Time) (sum content) {
	h := sha256.New()
	_, _ = h.Write([]byte(row.Policies))
	encoder := json.NewEncoder(h)
	for i := range row.Overrides {
		if row.Overrides[i].ActiveAt(now) {
			_ = encoder.Encode(row.Overrides[i].Policy) // a policy is plain text and numbers, and a hash takes everything
		}
	}
	return content(h.Sum(sum[:0]))
}

// sharedQuotas is the compiled policies of the cached keys, once for all keys
// with the same content. It is safe for concurrent use.
type sharedQuotas struct {
	mu        sync.Mutex
	byContent map[content]*sharedQuota
	bytes     int
}

// sharedQuota is a quota that is bound to no subject.
type sharedQuota struct {
	table   *sharedQuotas
	content content
	quota   *ratelimit.Quota
	shadow  shadowQuota // of quota

	users int // entries of the cache; guarded by table.mu, like bytes
	bytes int
}

func newSharedQuotas() *sharedQuotas {
	return &sharedQuotas{byContent: map[content]*sharedQuota{}}
}

// acquire returns the quota with this content, by compile if no entry has it.
// The caller must release it.
func (t *sharedQuotas) acquire(id content, compile func() (*ratelimit.Quota, error)) (*sharedQuota, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, found := t.byContent[id]
	if !found {
		quota, err := compile() // takes microseconds
		if err != nil {
			return nil, err
		}
		s = &sharedQuota{table: t, content: id, quota: quota}
		t.byContent[id] = s
		t.grow(s, sharedBytes+quota.Footprint())
	}
	s.users++
	return s, nil
}

// release ends the use of s by one entry.
func (t *sharedQuotas) release(s *sharedQuota) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(t.byContent, s.content)
		t.grow(s, -s.bytes)
	}
}

// grow records that s takes this much more memory. t.mu must be held.
func (t *sharedQuotas) grow(s *sharedQuota, bytes int) {
	s.bytes += bytes
	t.bytes += bytes
}

// size returns about how many bytes all quotas take.
func (t *sharedQuotas) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

// inShadow returns the quota with all policies in shadow mode.
func (s *sharedQuota) inShadow() *ratelimit.Quota {
	return s.shadow.of(s.quota, func(shadow *ratelimit.Quota) {
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		if s.users > 0 {
			s.table.grow(s, shadow.Footprint())
		}
	})
}

// sharedBytes is what a sharedQuota takes in addition to its policies, with its
// place in the map.
const sharedBytes = 400

// entryBytes is what an entry takes in addition to its texts and lists: the
// entry, its quota bound to its subjects in both modes, and its place in the
// cache.
const entryBytes = 850

// weigh returns about how many bytes an entry takes without shared policies.
func weigh(entry *resolved) uint32 {
	k := &entry.key
	n := entryBytes + len(k.ID) + len(k.Plan) + len(k.Owner) + len(k.Subject) + len(k.IPAllow)*int(unsafe.Sizeof(k.IPAllow[0]))
	for _, scope := range k.Scopes {
		n += int(unsafe.Sizeof(scope)) + len(scope)
	}
	return uint32(n) // lists are bounded where keys are written
}
