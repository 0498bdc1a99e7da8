package limits

import (
	"container/heap"
	"sync"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// maxOpen bounds the open reservations of an instance. An owner can take a place while it has fewer
// than are free (Choudhury and Hahne, "Dynamic queue length thresholds", 1998, with
// α = 1): alone it has at most half of them, and n owners that take all they can
// leave one part in n + 1 free. The largest, with 16 policies and the longest
// subject, takes 5.4 KB, so all take at most 300 MB.
const maxOpen = 50_000

// openReservations holds the reservations that can be committed or released, by
// id. It is safe for concurrent use.
type openReservations struct {
	mu       sync.Mutex
	byID     map[string]*openReservation
	places   map[string]int // taken, by owner
	taken    int            // places in all
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
	return &openReservations{byID: map[string]*openReservation{}, places: map[string]int{}}
}

// takePlace takes a place for a reservation that the owner opens at now, until it
// is forgotten or leavePlace is called.
func (o *openReservations) takePlace(owner string, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	if o.places[owner] >= maxOpen-o.taken {
		return &models.Error{
			Kind:    models.KindOverloaded,
			Code:    "too_many_reservations",
			Message: "Too many reservations are open. Commit or release some, or wait until they expire.",
		}
	}
	o.places[owner]++
	o.taken++
	return nil
}

// leavePlace gives back a place in which no reservation was opened.
func (o *openReservations) leavePlace(owner string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.freePlace(owner)
}

// freePlace frees an owner's place. o.mu is held.
func (o *openReservations) freePlace(owner string) {
	o.taken--
	if o.places[owner]--; o.places[owner] == 0 {
		delete(o.places, owner)
	}
}

// add keeps r, whose id is new, in a place that was taken.
func (o *openReservations) add(owner, id string, r *ratelimit.Reservation, expiresAt time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	open := &openReservation{Reservation: r, id: id, owner: owner, expiresAt: expiresAt}
	o.byID[id] = open
	heap.Push(&o.byExpiry, open)
}

// get returns an open reservation, or nil.
func (o *openReservations) get(id string, now time.Time) *ratelimit.Reservation {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	if open, found := o.byID[id]; found {
		return open.Reservation
	}
	return nil
}

// remove forgets a reservation, if it is open.
func (o *openReservations) remove(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if open, found := o.byID[id]; found {
		o.forget(open)
	}
}

// count returns how many are open at now.
func (o *openReservations) count(now time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	return len(o.byID)
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
	o.freePlace(open.owner)
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
