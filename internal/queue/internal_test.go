package queue

import (
	"log/slog"
	"testing"
)

// What was read before this instance changed a group is out of date.
func TestGate_refresh(t *testing.T) {
	t.Parallel()
	var g gate
	g.set("a", true)
	if err := g.refresh(func() ([]string, error) { return []string{"b"}, nil }); err != nil || g.isPaused("a") || !g.isPaused("b") {
		t.Errorf("error %v, paused %v", err, g.paused)
	}
	if err := g.refresh(func() ([]string, error) { g.set("a", true); return nil, nil }); err != nil || !g.isPaused("a") {
		t.Errorf("error %v, paused %v; want the change kept", err, g.paused)
	}
}

// River deletes cancelled and discarded jobs after some time by default, and lets
// a process keep a job for an hour.
func TestWorker_riverConfig(t *testing.T) {
	t.Parallel()
	w, err := NewWorker(&Queue{log: slog.New(slog.DiscardHandler)}, nil, Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.riverConfig(true)
	if cfg.CancelledJobRetentionPeriod != -1 || cfg.DiscardedJobRetentionPeriod != -1 || !cfg.PollOnly || cfg.MaxAttempts < 30_000 {
		t.Errorf("config %+v", cfg)
	}
	if most := cfg.RescueStuckJobsAfter - cfg.JobTimeout; most < recordTimeout || cfg.RescueStuckJobsAfter > 10*deliveryTimeout {
		t.Errorf("a job is rescued %s after the end of its delivery", most)
	}
}
