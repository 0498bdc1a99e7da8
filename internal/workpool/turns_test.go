package workpool

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
)

// of returns the context of a request of an owner.
func of(owner string) context.Context {
	return models.WithRequest(context.Background(), &models.Request{Key: &models.APIKey{Owner: owner}})
}

// A victim that sends one job after another, while another owner floods the
// pool, waits for at most two jobs each time: the one that runs, and one turn.
func TestPool_Do_takes_turns_by_owner(t *testing.T) {
	const runs = 7 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(1, queuePerWorker)
		work := func(context.Context) error { time.Sleep(runs); return nil }
		flood, stopFlood := context.WithCancel(of("flooder"))
		for range 200 {
			go func() {
				for flood.Err() == nil {
					if pool.Do(flood, work) != nil {
						time.Sleep(time.Millisecond)
					}
				}
			}()
		}
		synctest.Wait()
		for i := range 100 {
			start := time.Now()
			err := pool.Do(of("victim"), work)
			if took := time.Since(start); err != nil || took > 3*runs {
				t.Errorf("job %d: %v after %s", i, err, took)
			}
		}
		stopFlood()
		time.Sleep(time.Minute)
		pool.empty(t, 1)
	})
}

// A full queue is shared: the owners with fewer jobs displace the newest jobs of
// the owner with the most, until they have as many.
func TestPool_Do_shares_a_full_queue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(1, 6)
		end := busy(pool, 1)
		var served []string
		send := func(name, owner string) chan error {
			result := make(chan error, 1)
			go func() {
				result <- pool.Do(of(owner), func(context.Context) error { served = append(served, name); return nil })
			}()
			synctest.Wait()
			return result
		}
		results := map[string]chan error{}
		for _, job := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "b1", "b2", "c1", "b3", "c2", "c3", "a8"} {
			results[job] = send(job, job[:1])
		}
		end()
		if want := []string{"a1", "b1", "c1", "a2", "b2", "c2"}; !slices.Equal(served, want) {
			t.Errorf("served %q; want %q", served, want)
		}
		for job, result := range results {
			if err := <-result; errors.Is(err, models.ErrOverloaded) == slices.Contains(served, job) {
				t.Errorf("%s: %v", job, err)
			}
		}
		pool.empty(t, 1)
	})
}
