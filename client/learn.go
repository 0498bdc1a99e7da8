package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// policiesChanged compares an answer's fields with the policies that are known.
func (p *pacer) policiesChanged(t *ticket, header http.Header, seen map[string]observation) bool {
	field := header.Get(fieldRateLimitPolicy)
	before, known := p.fields[t.group]
	p.fields[t.group] = field
	if !p.learned || header.Get(fieldRateLimit) == "" && field == "" && !known {
		return false
	}
	if known {
		return before != field
	}
	if p.now() < p.learnedAt+learnEvery { // two instances that disagree, perhaps
		return false
	}
	return len(seen) != len(t.parts) || slices.ContainsFunc(t.parts, func(part part) bool { _, there := seen[part.policy.Name]; return !there })
}

// install takes over the policies that hold now. One that is as it was keeps
// its ledger; a new one begins with what is under way, and is read by the look
// that follows.
func (p *pacer) install(policies []Policy) error {
	var ledgers []*ledger
	for _, policy := range policies {
		if orZero(policy.Mode) == Shadow {
			continue
		}
		fresh, err := newLedger(policy)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(p.ledgers, func(l *ledger) bool { return same(l.policy, policy) }); i >= 0 {
			fresh = p.ledgers[i]
		} else {
			for t := range p.underWay {
				if t.cost > 0 && (fresh.group == "" || fresh.group == t.group) {
					t.parts = append(t.parts, fresh.send(p.now(), t.cost))
				}
			}
		}
		ledgers = append(ledgers, fresh)
	}
	p.ledgers = ledgers
	p.closedUntil = 0 // what it stood for may be among them
	clear(p.fields)
	return nil
}

func same(a, b Policy) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// learn reads the policies and where they stand. Nothing is sent meanwhile, and
// one learns for all. Whoever waits already is given the new policies.
func (t *Transport) learn(ctx context.Context) error {
	select {
	case t.learning <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.learning }()
	p := t.pacer
	p.mu.Lock()
	if p.learned || t.triedAt != 0 && p.now() < t.triedAt+learnEvery {
		p.mu.Unlock()
		return nil
	}
	p.paused = true
	t.triedAt = max(1, p.now())
	p.mu.Unlock()

	err := t.readPolicies(ctx)
	if err == nil {
		_, err = t.look(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused, p.learned, p.learnedAt = false, err == nil, p.now()
	p.admit(p.now())
	if ctx.Err() != nil { // it is this caller's failure, and the next one tries
		t.triedAt = 0
		return ctx.Err()
	}
	return nil // without knowledge, what the server answers is honoured
}

// learnEvery is how soon policies that couldn't be read are tried again.
const learnEvery = time.Second

func (t *Transport) readPolicies(ctx context.Context) error {
	var me struct {
		Quota []Policy `json:"quota"`
	}
	if err := t.get(ctx, "v1/me", &me); err != nil {
		return err
	}
	p := t.pacer
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.install(me.Quota); err != nil {
		return err
	}
	for _, w := range p.queue {
		if w.op.cost > 0 {
			w.ledgers, w.short = p.applying(w.op), nil
		}
	}
	return nil
}

// look reads where all policies stand: an answer that tells more exactly than
// the fields do, and costs nothing. changed says that it shows other policies
// than are known.
func (t *Transport) look(ctx context.Context) (changed bool, err error) {
	p := t.pacer
	p.mu.Lock()
	ticket := &ticket{sentAt: p.now()}
	for _, l := range p.ledgers {
		ticket.parts = append(ticket.parts, l.send(p.now(), 0))
	}
	p.lookedAt = p.now()
	p.mu.Unlock()

	var limits KeyLimits
	err = t.get(ctx, "v1/me/limits", &limits)
	seen := make(map[string]observation, len(limits.Data))
	capacities := make(map[string]int64, len(limits.Data))
	for _, l := range limits.Data {
		capacities[l.Policy] = l.Limit
		if l.Mode == Enforce {
			reset := time.Duration(min(l.ResetAfter, never.Seconds()) * float64(time.Second))
			seen[l.Policy] = observation{remaining: l.Remaining, resetMin: max(0, reset-1), resetMax: reset + 1} // a float's rounding
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(ticket, false, seen)
	changed = len(seen) != len(ticket.parts) || slices.ContainsFunc(ticket.parts, func(part part) bool {
		_, there := seen[part.policy.Name]
		return !there || part.capacity != capacities[part.policy.Name]
	})
	return changed, err
}

// get reads one of the free answers about the key.
func (t *Transport) get(ctx context.Context, path string, into any) error {
	t.pacer.countBuiltIn()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.server.JoinPath(path).String(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := t.send(request, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", path, response.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(response.Body, longestProblem)).Decode(into)
}

func (p *pacer) countBuiltIn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.builtIn.charge(p.now(), 1)
}
