package middleware

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// TestLimit_allocations checks that 16 policies, with the longest header fields,
// cost no more allocations than three.
func TestLimit_allocations(t *testing.T) {
	var most []ratelimit.Policy
	for i := range ratelimit.MaxPolicies {
		p := threePolicies[i%len(threePolicies)]
		p.Name = fmt.Sprintf("name_of_thirty-two_characters_x%c", 'a'+i)
		most = append(most, p)
	}
	r := limitedRequest()
	few, many := limitedRouter(t), routerWith(t, most)
	withFew := testing.AllocsPerRun(1000, func() { serveOnce(few, r) })
	withMany := testing.AllocsPerRun(1000, func() { serveOnce(many, r) })
	if !raceEnabled && withMany > withFew {
		t.Errorf("16 policies cost %v allocations, three %v", withMany, withFew)
	}
}

// slowQuotas has one key, which is cached if slow is 0. Otherwise it has to be
// loaded, which takes so long.
type slowQuotas struct {
	testkit.OneKey
	slow time.Duration
}

func (q *slowQuotas) Cached(presented string, now time.Time) (*models.APIKey, *ratelimit.Quota, bool) {
	key, quota, _ := q.OneKey.Cached(presented, now)
	return key, quota, q.slow == 0
}

func (q *slowQuotas) Resolve(ctx context.Context, presented string, now time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	time.Sleep(q.slow)
	return q.OneKey.Resolve(ctx, presented, now)
}

// TestLimit_request_that_waited_for_its_key checks that a request is limited at the
// time at which it has its key. At the time of its arrival, the bucket would refill
// again what has been spent since.
func TestLimit_request_that_waited_for_its_key(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota, err := ratelimit.NewQuota([]ratelimit.Policy{
			{Name: "b", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "10s"},
		}, ratelimit.Subjects{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		quotas := &slowQuotas{OneKey: testkit.OneKey{Quota: quota}}
		limiter := ratelimit.New(memory.New())
		router := gin.New()
		router.Use(Begin(nil), RenderErrors(), Authenticate(quotas, NewFailureLimiter(ratelimit.New(memory.New()))),
			Limit(limiter, FieldsDraft11, &models.Route{Cost: 1}, nil))
		router.GET("/", sendProduct)

		status := func() int { return serveOnce(router, limitedRequest()).Code }
		late := make(chan int)
		quotas.slow = 20 * time.Second
		go func() { late <- status() }()
		synctest.Wait() // until it waits for its key
		quotas.slow = 0
		time.Sleep(20*time.Second - time.Nanosecond)
		got := []int{status(), <-late, status()}
		if got[0] != http.StatusOK || got[1] != http.StatusTooManyRequests || got[2] != http.StatusTooManyRequests {
			t.Errorf("got %v at once from a bucket of one unit; want 200, 429, 429", got)
		}
	})
}
