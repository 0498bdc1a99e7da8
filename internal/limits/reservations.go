package limits

import (
	"container/heap"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Bounds of open reservations. At about 1.5 KB each they take at most 75 MB, and
// one owner can't use up all of them.
const (
	maxOpen         = 50_000
	maxOpenPerOwner = 10_000
)

// openReservations holds the reservations that can be committed or released, by
// id. It is safe for concurrent use.
type openReservations struct {
	mu       sync.Mutex
	byID     map[string]*openReservation
	perOwner map[string]int
	byExpiry expiries
}

type openReservation struct {
	*ratelimit.Reservation
	id        string
	owner     string
	expiresAt time.Time
	place     int // in byExpiry
}

func newOpenReservations() *openReservations {
	return &openReservations{byID: map[string]*openReservation{}, perOwner: map[string]int{}}
}

// checkRoom returns an error when the owner can't open another reservation at
// now.
func (o *openReservations) checkRoom(owner string, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	if o.perOwner[owner] >= maxOpenPerOwner || len(o.byID) >= maxOpen {
		return &models.Error{
			Kind:    models.KindOverloaded,
			Code:    "too_many_reservations",
			Message: "Too many reservations are open. Commit or release some, or wait until they expire.",
		}
	}
	return nil
}

// add keeps r and returns its id.
func (o *openReservations) add(owner string, r *ratelimit.Reservation, expiresAt time.Time) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	open := &openReservation{Reservation: r, id: "rsv_" + strings.ToLower(rand.Text()), owner: owner, expiresAt: expiresAt}
	o.byID[open.id] = open
	o.perOwner[owner]++
	heap.Push(&o.byExpiry, open)
	return open.id
}

// get returns an owner's open reservation, or models.ErrNotFound.
func (o *openReservations) get(owner, id string, now time.Time) (*ratelimit.Reservation, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	open, found := o.byID[id]
	if !found || open.owner != owner {
		return nil, models.ErrNotFound
	}
	return open.Reservation, nil
}

// remove forgets an owner's reservation, if it is still open.
func (o *openReservations) remove(owner, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if open, found := o.byID[id]; found && open.owner == owner {
		o.forget(open)
	}
}

// expire forgets what has expired by now. o.mu is held.
func (o *openReservations) expire(now time.Time) {
	for len(o.byExpiry) > 0 && !now.Before(o.byExpiry[0].expiresAt) {
		o.forget(o.byExpiry[0])
	}
}

// forget drops one. o.mu is held.
func (o *openReservations) forget(open *openReservation) {
	delete(o.byID, open.id)
	heap.Remove(&o.byExpiry, open.place)
	if o.perOwner[open.owner]--; o.perOwner[open.owner] == 0 {
		delete(o.perOwner, open.owner)
	}
}

// expiries implements heap.Interface; the first to expire is on top.
type expiries []*openReservation

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expiresAt.Before(e[j].expiresAt) }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}

// Push adds x at the end, for package heap.
func (e *expiries) Push(x any) {
	open := x.(*openReservation)
	open.place = len(*e)
	*e = append(*e, open)
}

// Pop takes the last, for package heap.
func (e *expiries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return last
}
