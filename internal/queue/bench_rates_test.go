package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/queue"
)

// BenchmarkRates compares the queue with River by itself: messages published and
// processed per second, in turns.
func BenchmarkRates(b *testing.B) {
	const rounds, messages = 25, 400 // short turns, because other work on the machine comes and goes
	subjects := []*subject{newQueueSubject(b), newRiverSubject(b)}
	published, processed := map[string][]float64{}, map[string][]float64{}
	for round := range rounds + 1 {
		for _, s := range subjects {
			in, out := s.publishRate(b, messages), s.processRate(b, messages)
			if round > 0 { // the first warms up
				published[s.name], processed[s.name] = append(published[s.name], in), append(processed[s.name], out)
			}
		}
		slices.Reverse(subjects)
	}
	for what, rates := range map[string]map[string][]float64{"published": published, "processed": processed} {
		var ratios []float64
		for i := range rounds {
			ratios = append(ratios, rates["queue"][i]/rates["river"][i])
		}
		b.ReportMetric(median(rates["queue"]), what+"/s")
		b.ReportMetric(median(rates["river"]), "river-"+what+"/s")
		b.ReportMetric(median(ratios), what+"-ratio")
		slices.Sort(ratios)
		b.Logf("%s: the queue's rate as a multiple of River's: quartiles %.2f to %.2f", what, ratios[rounds/4], ratios[rounds*3/4])
	}
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// publishRate returns how many messages 8 publishers commit per second, each with
// a change.
func (s *subject) publishRate(b *testing.B, messages int) float64 {
	var left atomic.Int64
	left.Store(int64(messages))
	var publishers sync.WaitGroup
	began := time.Now()
	for range 8 {
		publishers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := s.change(b.Context(), int(s.published.Add(1)), func() {}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
	return float64(messages) / time.Since(began).Seconds()
}

// processRate returns how many waiting messages a worker processes per second,
// without the time that it needs to start.
func (s *subject) processRate(b *testing.B, messages int) float64 {
	var left sync.WaitGroup
	left.Add(messages)
	var began time.Time
	var first sync.Once
	stop := s.start(func(int) {
		first.Do(func() { began = time.Now() })
		left.Done()
	})
	left.Wait()
	took := time.Since(began)
	stop()
	return float64(messages) / took.Seconds()
}

// BenchmarkLatency compares the times from commit to handler at a steady rate, in
// turns.
func BenchmarkLatency(b *testing.B) {
	const rounds, seconds = 4, 5
	subjects := []*subject{newQueueSubject(b), newRiverSubject(b)}
	all := map[string]latencies{}
	for range rounds {
		for _, s := range subjects {
			all[s.name] = append(all[s.name], measure(b, s, seconds)...)
		}
	}
	reportLatencies(b, all)
}

// reportLatencies reports quantiles of latencies in milliseconds, by name.
func reportLatencies(b *testing.B, all map[string]latencies) {
	for name, l := range all {
		for _, percent := range []float64{50, 95, 99} {
			b.ReportMetric(l.quantile(percent/100), fmt.Sprintf("%s-p%.0f-ms", name, percent))
		}
	}
}

// BenchmarkFlood measures how long another owner's messages wait while one owner
// has 10,000 waiting, whose handlers take 10 ms each: with the queue's priorities
// and, for comparison, with messages that have no owner.
func BenchmarkFlood(b *testing.B) {
	for i, owner := range []string{"flood", ""} {
		name := []string{"other-owner", "without-priorities"}[i]
		waits, drained := floodWaits(b, owner)
		b.ReportMetric(waits.quantile(1), name+"-max-ms")
		b.ReportMetric(waits.quantile(0.5), name+"-p50-ms")
		b.ReportMetric(drained.Seconds(), name+"-drained-s")
	}
}

// floodWaits returns the latencies of the messages of another owner, and when all
// of the flood were processed.
func floodWaits(b *testing.B, owner string) (waits latencies, drained time.Duration) {
	const flood, others = 10_000, 20
	s := newSubject(b, "flood")
	q, err := queue.New(s.db, queue.Routes{"work": {"workers"}}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	messages := make([]*queue.Message, flood)
	for i := range messages {
		messages[i] = &queue.Message{Topic: "work", Owner: owner}
	}
	publishIn(b, s, q, messages...)
	var left sync.WaitGroup
	left.Add(flood + others)
	var mu sync.Mutex
	handler := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		if m.Key == "other" {
			mu.Lock()
			waits = append(waits, time.Since(m.PublishedAt))
			mu.Unlock()
		}
		time.Sleep(10 * time.Millisecond) // as a call to another service would take
		left.Done()
		return nil, nil
	}
	began := time.Now()
	w, err := queue.NewWorker(q, queue.Handlers{"workers": {"work": handler}}, queue.Config{})
	stop := begin(b, err, w)
	for range others {
		publishIn(b, s, q, &queue.Message{Topic: "work", Key: "other", Owner: "other"})
		time.Sleep(100 * time.Millisecond) // the flood is being processed
	}
	left.Wait()
	drained = time.Since(began)
	stop()
	return waits, drained
}
