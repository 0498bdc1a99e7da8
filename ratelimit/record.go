package ratelimit

import (
	"encoding/json"
	"errors"
	"fmt"
)

// recordVersion is the first byte of a record. A process that doesn't know the
// version can't resume the reservation.
const recordVersion = 1

// errRecord reports data that isn't a record of a reservation.
var errRecord = errors.New("ratelimit: not a record of a reservation")

// record is what is needed to settle a reservation: what was charged, and to
// which counters. The policies are those of the time of the charge.
type record struct {
	Cost   int64        `json:"cost"`
	Holder int64        `json:"holder,omitempty"`
	Key    *Subject     `json:"key,omitempty"`
	Owner  *Subject     `json:"owner,omitempty"`
	Steps  []recordStep `json:"steps"` // those that were charged
}

type recordStep struct {
	Policy     Policy `json:"policy"`
	State      State  `json:"state"`
	Generation uint32 `json:"generation,omitempty"`
	Epoch      int64  `json:"epoch,omitempty"` // of a calendar policy's lease; 0: unknown
}

// Slot returns the slot of the quota's counters; see [Subjects.Slot].
func (q *Quota) Slot() uint64 { return q.key.Slot }

// MarshalBinary encodes an open reservation, so that a limiter of another process
// can settle it; see [Limiter.Resume]. The error is ErrSettled.
func (r *Reservation) MarshalBinary() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != charged {
		return nil, ErrSettled
	}
	b := &r.batch
	rec := record{Cost: b.Cost, Holder: b.Holder, Key: b.Key, Owner: b.Owner, Steps: []recordStep{}}
	for i := range b.Steps {
		s := &b.Steps[i]
		if !s.Charged {
			continue
		}
		step := recordStep{Policy: s.Policy.Policy, State: s.State, Generation: s.Generation}
		if a := r.limiter.allowances; a != nil && s.Policy.Leasable() {
			step.Epoch = a.Epoch(b, s)
		}
		rec.Steps = append(rec.Steps, step)
	}
	data, err := json.Marshal(&rec)
	return append([]byte{recordVersion}, data...), err
}

// SetRecord names the record of a reservation that other processes can settle. The
// store deletes it as it settles the reservation, so that only one process does.
// It must be called before the reservation is settled.
func (r *Reservation) SetRecord(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch.Once = name
}

// Resume makes r a reservation of another process, which MarshalBinary has
// encoded. name is that of its record; see [Reservation.SetRecord]. Both limiters
// must share a store, except for the counters that their allowances supply: units
// of these go to the counter of the same period and epoch in this process, or
// nowhere. r must be a new Reservation. Its Decision is empty.
func (l *Limiter) Resume(r *Reservation, name string, data []byte) error {
	if len(data) == 0 || data[0] != recordVersion {
		return errRecord
	}
	var rec record
	if err := json.Unmarshal(data[1:], &rec); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	r.limiter, r.phase, r.epochs = l, charged, []int64{}
	r.batch = Batch{Cost: rec.Cost, Holder: rec.Holder, Key: rec.Key, Owner: rec.Owner, Once: name, Leases: l.allowances != nil}
	for _, s := range rec.Steps {
		c, err := compile(s.Policy)
		if err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
		r.holds = r.holds || c.Holds()
		r.batch.Steps = append(r.batch.Steps, Step{Policy: c, State: s.State, Generation: s.Generation, Allowed: true, Charged: true})
		r.epochs = append(r.epochs, s.Epoch)
	}
	r.Decision.statuses = make([]Status, len(r.batch.Steps))
	return nil
}

// returnLeased takes the units that a resumed reservation gives back to leased
// counters out of the batch, because the counters of this process are not those
// that were charged. The function that it returns gives them to the counters of
// the same period and epoch.
func (r *Reservation) returnLeased() (apply func()) {
	a := r.limiter.allowances
	if r.epochs == nil || a == nil {
		return func() {}
	}
	var units [MaxPolicies]int64
	for i := range r.batch.Steps {
		if s := &r.batch.Steps[i]; s.Policy.Leasable() && s.Give > 0 {
			units[i], s.Give = s.Give, 0
		}
	}
	return func() {
		for i := range r.batch.Steps {
			if units[i] > 0 {
				a.Return(&r.batch, &r.batch.Steps[i], r.epochs[i], units[i])
			}
		}
	}
}
