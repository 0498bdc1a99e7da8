package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"
)

// Subjects names the subjects whose counters a quota spends. A key and an
// owner with the same name share nothing.
type Subjects struct {
	// Key is the subject of policies per key.
	Key string
	// Owner is the subject of policies per owner. The counters of all keys of
	// an owner share its part of a store's memory.
	Owner string
	// Slot groups the counters that a distributed store keeps on one node; empty:
	// Owner. All subjects of a batch need the same one.
	Slot string
}

// Subject identifies the owner of counters.
type Subject struct {
	// Hash is 128 bits of the SHA-256 of the subject's kind and Name, so that an
	// attacker can't choose two subjects that share a counter.
	Hash [2]uint64
	// Name is unique among the keys, or the owners.
	Name string
	// Account is a hash of the owner's name. Stores share their memory fairly
	// between accounts.
	Account uint64
	// Slot is a hash of Subjects.Slot.
	Slot uint64

	hint atomic.Uint32 // see Hint
}

// Clone returns a copy without the hint. Subjects must not be copied otherwise.
func (s *Subject) Clone() *Subject {
	return &Subject{Hash: s.Hash, Name: s.Name, Account: s.Account, Slot: s.Slot}
}

// Hint returns the last argument of SetHint; 0 if there was none. In it a store
// may keep where it has found the subject's counters. The store must check what it
// finds there: counters move, and the hint may be another store's. Hint is safe for
// concurrent use with SetHint.
func (s *Subject) Hint() uint32 { return s.hint.Load() }

// SetHint sets the hint.
func (s *Subject) SetHint(hint uint32) { s.hint.Store(hint) }

// hashOf is the hash FNV-1a. It is the same in every process, because snapshots
// and shared stores contain it.
func hashOf(name string) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(name) {
		hash = (hash ^ uint64(name[i])) * 1099511628211
	}
	return hash
}

// set names the subject. It computes the hash only if hash is set.
func (s *Subject) set(per Per, name string, account, slot uint64, hash bool) {
	*s = Subject{Name: name, Account: account, Slot: slot}
	if !hash {
		return
	}
	var buf [160]byte // avoids an allocation for names of usual length
	sum := sha256.Sum256(append(append(append(buf[:0], per...), 0), name...))
	s.Hash = [2]uint64{binary.LittleEndian.Uint64(sum[0:]), binary.LittleEndian.Uint64(sum[8:])}
}

// Quota is a caller's policies, compiled and bound to its subjects. It is
// immutable and safe for concurrent use. Compile it once and reuse it.
type Quota struct {
	views    []*view // by group; the first serves groups without policies
	key      Subject
	owner    Subject
	all      *view // all policies of all groups
	policies []Policy
}

// view is the policies that apply to one group.
type view struct {
	group    string
	policies []*Compiled // enforced before shadow, each in quota order
	enforced int         // number of enforced policies
	perKey   bool        // a policy spends the key's counter
	perOwner bool        // a policy spends the owner's counter
	holds    bool        // a policy has algorithm concurrency
	field    []string    // RateLimit-Policy header value; nil if none is enforced
}

// NewQuota compiles policies and binds them to subjects. A quota without
// policies limits nothing. If policies are invalid, the error is an
// *InvalidError that lists every fault.
func NewQuota(policies []Policy, s Subjects) (*Quota, error) {
	if err := Validate(policies); err != nil {
		return nil, err
	}
	q := &Quota{policies: slices.Clone(policies)}
	compiled := make([]*Compiled, len(policies))
	groups := []string{""}
	for i, p := range policies {
		c, err := compile(p)
		if err != nil {
			return nil, err
		}
		for _, other := range compiled[:i] {
			if other.id == c.id {
				return nil, fmt.Errorf("policies %q and %q have the same identity", other.Name, c.Name)
			}
		}
		compiled[i] = c
		if !slices.Contains(groups, p.Group) {
			groups = append(groups, p.Group)
		}
	}
	for _, g := range groups {
		q.views = append(q.views, newView(compiled, func(c *Compiled) bool { return c.Group == "" || c.Group == g }))
		q.views[len(q.views)-1].group = g
	}
	q.all = newView(compiled, func(*Compiled) bool { return true })
	return q.For(s), nil
}

// For returns the quota bound to other subjects. The compiled policies are
// shared, so a plan with many callers needs to be compiled only once. For
// allocates once and computes a SHA-256 for each kind of subject in use.
func (q *Quota) For(s Subjects) *Quota {
	bound := new(Quota)
	q.Bind(bound, s)
	return bound
}

// Bind is like For but overwrites into, which must not be in use, instead of
// allocating.
func (q *Quota) Bind(into *Quota, s Subjects) {
	into.policies, into.views, into.all = q.policies, q.views, q.all
	account := hashOf(s.Owner)
	slot := account
	if s.Slot != "" {
		slot = hashOf(s.Slot)
	}
	into.key.set(PerKey, s.Key, account, slot, q.all.perKey)
	into.owner.set(PerOwner, s.Owner, account, slot, q.all.perOwner)
}

func newView(all []*Compiled, applies func(*Compiled) bool) *view {
	v := &view{}
	for _, mode := range []Mode{Enforce, Shadow} {
		for _, c := range all {
			if c.Mode != mode || !applies(c) {
				continue
			}
			v.policies = append(v.policies, c)
			v.perKey = v.perKey || c.Per == PerKey
			v.perOwner = v.perOwner || c.Per == PerOwner
			v.holds = v.holds || c.Algorithm == Concurrency
		}
		if mode == Enforce {
			v.enforced = len(v.policies)
		}
	}
	if v.enforced > 0 {
		v.field = []string{policyField(v.policies[:v.enforced])}
	}
	return v
}

// Policies returns a copy of the policies as passed to NewQuota.
func (q *Quota) Policies() []Policy { return slices.Clone(q.policies) }

// Footprint returns about how many bytes the compiled policies take. All quotas
// that For and Bind make of q share them.
func (q *Quota) Footprint() int {
	const pointer, allocation = 8, 16 // allocation: what a string's size is rounded up by
	size := func(p *Policy) int {
		text := len(p.Name) + len(p.Algorithm) + len(p.Period) + len(p.MaxWait) + len(p.Hold) + len(p.TimeZone) + len(p.Group) +
			len(p.Per) + len(p.Charge) + len(p.Mode) + len(p.Sharing)
		return int(unsafe.Sizeof(*p)) + text + 4*allocation
	}
	n := 0
	for i := range q.policies {
		n += size(&q.policies[i])
	}
	for _, c := range q.all.policies {
		n += int(unsafe.Sizeof(*c)) + len(c.field) + allocation
	}
	for _, v := range slices.Concat(q.views, []*view{q.all}) {
		n += int(unsafe.Sizeof(*v)) + 2*pointer*len(v.policies) + allocation
		for _, field := range v.field {
			n += len(field) + 2*allocation
		}
	}
	return n
}

// Subjects returns the subjects whose counters the quota spends.
func (q *Quota) Subjects() Subjects { return Subjects{Key: q.key.Name, Owner: q.owner.Name} }

// Applies reports whether any policy, enforced or shadow, applies to a group.
func (q *Quota) Applies(group string) bool { return len(q.view(group).policies) > 0 }

func (q *Quota) view(group string) *view {
	for _, v := range q.views[1:] {
		if v.group == group {
			return v
		}
	}
	return q.views[0]
}
