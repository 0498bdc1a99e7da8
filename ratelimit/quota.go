package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// Subjects names whose counters a quota spends.
type Subjects struct {
	// Key is the subject of policies per key.
	Key string
	// Owner is the subject of policies per owner. The two are apart: a key
	// and an owner of the same name share nothing.
	Owner string
}

// Subject is one spender of counters.
type Subject struct {
	// Hash identifies Per and Name: 128 bits of SHA-256, so that two
	// subjects never share a counter, not even by an attacker's choice.
	Hash [2]uint64
	// Per is which kind it is, and Name its name among them.
	Per  Per
	Name string
}

// set names a subject, and hashes it where a policy needs that.
func (s *Subject) set(per Per, name string, hash bool) {
	s.Per, s.Name, s.Hash = per, name, [2]uint64{}
	if !hash {
		return
	}
	var room [160]byte // for names of the usual lengths
	text := append(append(append(room[:0], per...), 0), name...)
	sum := sha256.Sum256(text)
	s.Hash = [2]uint64{binary.LittleEndian.Uint64(sum[0:]), binary.LittleEndian.Uint64(sum[8:])}
}

// Quota is the policies that a caller has, compiled and bound to its subjects.
// It is immutable and safe for concurrent use; make it once and keep it.
type Quota struct {
	views    []*view // by group; the first is of all other groups
	key      Subject
	owner    Subject
	all      *view // of every policy, whatever its group
	policies []Policy
}

// view is what applies to one group.
type view struct {
	group    string
	policies []*Compiled // the enforced ones first, each part in quota order
	enforced int
	perKey   bool // some policy counts for the key
	perOwner bool
	holds    bool // some policy is concurrency
	field    []string
}

// NewQuota compiles policies and binds them to subjects. The error is an
// *InvalidError with everything that is wrong with the policies. No policies
// at all is a quota that limits nothing.
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

// For is the same quota bound to other subjects. It compiles nothing anew and
// shares all that was compiled: a plan of many callers is best compiled once.
// It costs an allocation and a SHA-256 for each kind of subject in use.
func (q *Quota) For(s Subjects) *Quota {
	bound := new(Quota)
	q.Bind(bound, s)
	return bound
}

// Bind is For without the allocation, for subjects that are met once: it
// overwrites into, which must not be in use.
func (q *Quota) Bind(into *Quota, s Subjects) {
	into.policies, into.views, into.all = q.policies, q.views, q.all
	into.key.set(PerKey, s.Key, q.all.perKey)
	into.owner.set(PerOwner, s.Owner, q.all.perOwner)
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

// Policies are the policies as they were given, in their order.
func (q *Quota) Policies() []Policy { return slices.Clone(q.policies) }

// Subjects names whose counters the quota spends.
func (q *Quota) Subjects() Subjects { return Subjects{Key: q.key.Name, Owner: q.owner.Name} }

// Applies says whether any policy, enforced or shadow, applies to a group.
func (q *Quota) Applies(group string) bool { return len(q.view(group).policies) > 0 }

func (q *Quota) view(group string) *view {
	for _, v := range q.views[1:] {
		if v.group == group {
			return v
		}
	}
	return q.views[0]
}
