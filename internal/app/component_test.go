package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// recorded is a component that records its calls.
type recorded struct {
	name          string
	calls         *[]string
	startErr      error
	stopErr       error
	stopDeadlines *int
}

func (r *recorded) Name() string { return r.name }

func (r *recorded) Start(context.Context) error {
	*r.calls = append(*r.calls, "start "+r.name)
	return r.startErr
}

func (r *recorded) Stop(ctx context.Context) error {
	*r.calls = append(*r.calls, "stop "+r.name)
	if _, bounded := ctx.Deadline(); bounded {
		*r.stopDeadlines++
	}
	return r.stopErr
}

func TestComponents(t *testing.T) {
	failure := errors.New("broken")
	for _, test := range []struct {
		name              string
		startErr, stopErr error // of b
		calls             string
	}{
		{"in order", nil, nil, "start a,start b,start c,stop c,stop b,stop a"},
		{"a failed start", failure, nil, "start a,start b,stop a"},
		{"a failed stop", nil, failure, "start a,start b,start c,stop c,stop b,stop a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var calls []string
			var deadlines int
			list := components{}
			for _, name := range []string{"a", "b", "c"} {
				c := &recorded{name: name, calls: &calls, stopDeadlines: &deadlines}
				if name == "b" {
					c.startErr, c.stopErr = test.startErr, test.stopErr
				}
				list.list = append(list.list, c)
			}
			startErr, stopErr := list.start(t.Context()), list.stop(t.Context())
			if got := strings.Join(calls, ","); got != test.calls {
				t.Errorf("calls %s; want %s", got, test.calls)
			}
			if !errors.Is(startErr, test.startErr) || !errors.Is(stopErr, test.stopErr) {
				t.Errorf("errors %v, %v; want %v, %v", startErr, stopErr, test.startErr, test.stopErr)
			}
			if err := errors.Join(startErr, stopErr); err != nil && !strings.Contains(err.Error(), " b: broken") {
				t.Errorf("the error doesn't name the component: %v", err)
			}
			if stops := strings.Count(test.calls, "stop"); deadlines != stops {
				t.Errorf("%d of %d stops had a deadline", deadlines, stops)
			}
			calls = nil
			if err := list.stop(t.Context()); err != nil || len(calls) != 0 {
				t.Errorf("a second stop called %v, %v", calls, err)
			}
		})
	}
}

// The order in which requests, usage, caches and databases end is a promise.
func TestApp_order(t *testing.T) {
	a := newTestApp(t)
	var names []string
	for _, c := range a.components.list {
		names = append(names, c.Name())
	}
	want := []string{
		"listener HTTP_ADDR", "listener OPS_ADDR", "ops server", "private Postgres", "database", "counters", "counters", "allowances", "allowances", "change publisher", "caches", "key filter",
		"change watcher", "event log", "usage", "cpu pool", "dev payment gateway", "payment gateway client", "queue", "queue monitor", "dev keys", "API server", "event streams", "readiness",
	}
	if !slices.Equal(names, want) {
		t.Errorf("components %q; want %q", names, want)
	}
}
