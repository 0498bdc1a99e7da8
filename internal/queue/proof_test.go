package queue_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/queue/queuetest"
	"ratelimiter/internal/testkit"
)

func TestMain(m *testing.M) { queuetest.Main(m, newProofWorker) }

// newProofWorker returns a worker with a fault, which the proof must catch.
func newProofWorker(q *queue.Queue, db *pgxpool.Pool, handlers queue.Handlers, cfg queue.Config, fault, _, _ string) (*queue.Worker, error) {
	w, err := queue.NewWorker(q, handlers, cfg)
	if err != nil || fault == "" {
		return w, err
	}
	w.WrapDeliver(func(ctx context.Context, d queue.Delivery, deliver func(context.Context, queue.Delivery) error) error {
		switch fault {
		case "ack before effect":
			if err := postgres.InTx(ctx, db, func(tx pgx.Tx) error { return d.Settle(ctx, tx) }); err != nil {
				return err
			}
			d.Settle = nil
		case "history lost on retry":
			d.Message.History = nil
		}
		err := deliver(ctx, d)
		if fault == "attempt used by shutdown" && errors.Is(err, queue.ErrInterrupted) {
			return errors.New("interrupted")
		}
		return err
	})
	return w, nil
}

// TestProof kills publishers, workers and Postgres under load. make proof-queue
// does it with 20,000 messages and 50 kills each.
func TestProof(t *testing.T) {
	cluster := testkit.NewDurableCluster(t)
	t.Run("kills", func(t *testing.T) { queuetest.ProveKills(t, cluster, nil) })
	t.Run("poison", func(t *testing.T) { queuetest.ProvePoison(t, cluster, nil) })
	// Each of these faults must be found.
	for _, fault := range []struct {
		name  string
		kills map[string]int
	}{
		{"ack before effect", map[string]int{"worker": 3}},
		{queuetest.PublishAfterCommit, map[string]int{"publisher": 6}},
		{"history lost on retry", nil},
		{queuetest.NoInbox, nil}, // the last, because it changes the table
	} {
		t.Run("catches "+fault.name, func(t *testing.T) { queuetest.Catch(t, cluster, nil, fault.name, fault.kills) })
	}
}

// TestProof_catches_attempt_used_by_shutdown has the fault that TestProof doesn't
// look for, because its handlers end before a stop interrupts them.
func TestProof_catches_attempt_used_by_shutdown(t *testing.T) {
	t.Parallel()
	if attempt := attemptAfterStop(t, "attempt used by shutdown"); attempt == 1 {
		t.Error("not caught")
	}
	if attempt := attemptAfterStop(t, ""); attempt != 1 {
		t.Errorf("without the fault: attempt %d", attempt)
	}
}

// attemptAfterStop stops a worker during a delivery and returns the attempt of the
// next one.
func attemptAfterStop(t *testing.T, fault string) int {
	q, db := newQueue(t, queue.Routes{"placed": {"ledger"}})
	began := make(chan int)
	hang := func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
		began <- m.Attempt
		<-ctx.Done()
		return nil, errors.New("interrupted")
	}
	handlers := queue.Handlers{"ledger": {"placed": hang}}
	var attempt int
	publish(t, q, db, &queue.Message{Topic: "placed"})
	for range 2 {
		w, err := newProofWorker(q, db, handlers, queue.Config{Retry: fast(8)}, fault, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		attempt = receive(t, began)
		stopWorker(t, w)
	}
	return attempt
}

// TestQueue_conformance is the suite of transports, without one.
func TestQueue_conformance(t *testing.T) { queuetest.Run(t, nil) }
