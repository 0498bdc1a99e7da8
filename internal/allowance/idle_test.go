package allowance

import (
	"log/slog"
	"runtime"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// watched is a store whose Exchange counts. The count is guarded by Service.mu.
type watched struct {
	*memory.Store
	calls int
}

// Exchange implements ratelimit.LeaseStore.
func (w *watched) Exchange(s *ratelimit.Subject, p *ratelimit.Compiled, now int64, change func(ratelimit.State) (ratelimit.State, bool)) (uint32, error) {
	w.calls++
	return w.Store.Exchange(s, p, now, change)
}

// TestService_idle_takes_turns checks that requests don't wait for a whole check
// of many counters.
func TestService_idle_takes_turns(t *testing.T) {
	const counters = 20 * idleTurn
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "daily", Algorithm: ratelimit.Calendar, Limit: 1, Period: ratelimit.Day}}, ratelimit.Subjects{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := ratelimit.New(memory.New()).Peek(t.Context(), quota, "")
	if err != nil {
		t.Fatal(err)
	}
	store := &watched{Store: memory.New()}
	s := New(nil, store, slog.New(slog.DiscardHandler))
	now := time.Now()
	for i := range counters {
		id := Counter{byte(i), byte(i >> 8)}
		s.entries[id] = &entry{id: id, subject: new(ratelimit.Subject), policy: d.Statuses()[0].Policy, end: now.Add(time.Hour).UnixNano(), changedAt: now}
	}
	between, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			s.mu.Lock()
			calls := store.calls
			s.mu.Unlock()
			if calls%counters != 0 {
				close(between)
				return
			}
			if calls == 200*counters {
				return
			}
			runtime.Gosched()
		}
	}()
	for range 200 {
		s.idle(now)
	}
	<-ended
	select {
	case <-between:
	default:
		t.Errorf("nobody had a turn during 200 checks of %d counters", counters)
	}
}
