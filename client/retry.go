package client

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// hashicorp/go-retryablehttp isn't used: its CheckRetry and Backoff don't see the
// request, whose method and Idempotency-Key matter here, nor its deadline.

// attempt is the next attempt of a request.
type attempt struct {
	again bool      // it does no harm
	at    time.Time // not before
	held  time.Time // until then the quota admits nothing; zero if not refused
}

// nextAttempt decides by the response to attempt n, or by the error if there is
// no response. After 429 any request can be sent again: it wasn't carried out.
// After 503 and errors it may have been, so it must be repeatable. A 409 with
// Retry-After is an order whose first attempt is still being processed.
func nextAttempt(request *http.Request, response *http.Response, err error, n int, now time.Time) attempt {
	var after time.Duration
	if err == nil {
		after = retryAfter(response.Header, now)
	}
	announced := after > 0
	if announced {
		after += rand.N(min(after/10, maxJitter) + minJitter)
	} else {
		after = backoff(n)
	}
	next := attempt{at: now.Add(after), again: repeatable(request)}
	switch {
	case err != nil, response.StatusCode == http.StatusServiceUnavailable:
	case response.StatusCode == http.StatusTooManyRequests:
		next.again = announced || !neverPasses(response)
		if next.again {
			next.held = next.at
		}
	case response.StatusCode == http.StatusConflict:
		next.again = next.again && announced
	default:
		next.again = false
	}
	next.again = next.again && (request.Body == nil || request.Body == http.NoBody || request.GetBody != nil)
	return next
}

// neverPasses reports whether a 429 without Retry-After comes from the quota:
// the request costs more than a policy's capacity.
func neverPasses(response *http.Response) bool {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem)) // a truncated body is parsed as far as it goes
	_ = response.Body.Close()                                        // nothing to do about an error
	response.Body = io.NopCloser(bytes.NewReader(body))
	problem := parseProblem(response, body)
	return len(problem.ViolatedPolicies) > 0 && problem.RetryAfter == nil
}

// repeatable reports whether carrying out a request twice has the same effect
// as once.
func repeatable(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	default:
		return request.Header.Get(idempotencyKey) != ""
	}
}

const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 10 * time.Second
	// minJitter spreads clients that share a key. With less, one that is always
	// a little later than another finds nothing left every time.
	minJitter = 500 * time.Millisecond
	maxJitter = time.Minute
	// maxRefusals bounds the attempts of one request that is refused. Each lasts
	// a second or more, so that MaxWait usually ends them sooner.
	maxRefusals = 100
)

// backoff returns the delay after a failed attempt, counted from 1: it doubles
// up to maxBackoff, and its second half is random.
func backoff(attempt int) time.Duration {
	d := min(minBackoff<<min(attempt-1, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}

// retryAfter reads Retry-After, which is in seconds or a date. It returns 0 if
// the field is absent or malformed.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return seconds(n)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// sleep waits for d. The error is the context's.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
