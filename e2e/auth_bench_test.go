package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// BenchmarkForgedKeys measures whether the response time distinguishes a wrong
// secret of an existing id from an unknown id, from memory and with a second look
// in Postgres. The two take turns; "noise" is the difference between unknown ids
// and other unknown ids.
func BenchmarkForgedKeys(b *testing.B) {
	for _, test := range []struct {
		name    string
		advance time.Duration // of the clock that second looks are limited by
	}{{"memory", 0}, {"second_look", time.Second}} {
		b.Run(test.name, func(b *testing.B) {
			address := testkit.DatabaseURL(b)
			victim := idOf(newApp(b, onDatabase(address)).key(models.NewKey{}))
			app, _ := filteringApp(b, address)
			var times [3][]time.Duration // of the known id, unknown ids, other unknown ids
			for n := 0; b.Loop(); n++ {
				app.clock.Advance(test.advance)
				for i := range times {
					i = (i + n) % len(times)
					id := victim
					if i > 0 {
						id = randomBase62(12)
					}
					times[i] = append(times[i], app.timeOf(fmt.Sprintf("100.%d.%d.%d", 64+n>>16, n>>8&255, n&255), forgedKey(id)))
				}
			}
			reference := medianOf(times[1])
			b.ReportMetric(micros(reference), "unknown-µs")
			b.ReportMetric(micros(medianOf(times[0])-reference), "known-unknown-µs")
			b.ReportMetric(micros(medianOf(times[2])-reference), "noise-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// timeOf returns how long a refusal takes.
func (a *testApp) timeOf(address, key string) time.Duration {
	request, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.Base()+"/v1/products", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", key)
	request.Header.Set("X-Forwarded-For", address)
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusUnauthorized {
		a.t.Fatalf("got status %d, error %v; want 401", response.StatusCode, err)
	}
	return time.Since(began)
}

func medianOf(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
