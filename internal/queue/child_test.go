package queue_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// Environment of a child process of the proof.
const (
	childRole    = "QUEUE_CHILD"         // publisher or worker
	childBroken  = "QUEUE_CHILD_BROKEN"  // the fault to have; "": none
	childAddress = "QUEUE_CHILD_ADDRESS" // file with the URL of the database
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := runChild(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// proofRoutes are those of the proof: the effect of "ledger" is in Postgres,
// that of "mail" outside.
var proofRoutes = queue.Routes{"placed": {"ledger", "mail"}}

// runChild is a publisher or a worker. It reports what it did on
// standard output, and ends in order when standard input ends.
func runChild(role string) error {
	db, err := testkit.OpenAddressFile(os.Getenv(childAddress))
	if err != nil {
		return err
	}
	defer db.Close()
	q, err := queue.New(db, proofRoutes, verbose())
	if err != nil {
		return err
	}
	if role == "publisher" {
		return runPublisher(q, db)
	}
	return runWorker(q, db)
}

// report writes a line for the observer. One this short is written at once.
func report(line string) { _, _ = io.WriteString(os.Stdout, line+"\n") }

// runPublisher makes the change that each line of input asks for, with its
// message, until it succeeds, and then acknowledges it.
func runPublisher(q *queue.Queue, db *pgxpool.Pool) error {
	ctx := context.Background()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n := in.Text()
		for placeOrder(ctx, q, db, n) != nil {
			time.Sleep(10 * time.Millisecond) // Postgres is starting
		}
		if os.Getenv(childBroken) != "publish after commit" {
			report("acknowledged " + n)
		}
	}
	return nil
}

// placeOrder makes one change and publishes its message.
func placeOrder(ctx context.Context, q *queue.Queue, db *pgxpool.Pool, n string) error {
	change := func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO proof_changes VALUES ($1) ON CONFLICT DO NOTHING`, "msg_"+n)
		return err
	}
	send := func(tx pgx.Tx) error {
		return q.Publish(ctx, tx, &queue.Message{ID: "msg_" + n, Topic: "placed", Key: n})
	}
	if os.Getenv(childBroken) == "publish after commit" {
		if err := postgres.InTx(ctx, db, change); err != nil {
			return err
		}
		report("acknowledged " + n)
		return postgres.InTx(ctx, db, send)
	}
	return postgres.InTx(ctx, db, func(tx pgx.Tx) error { return errors.Join(change(tx), send(tx)) })
}

// runWorker delivers messages until the end of input.
func runWorker(q *queue.Queue, db *pgxpool.Pool) error {
	cfg := queue.Config{Retry: queue.RetryPolicy{Base: 100 * time.Millisecond, Cap: 5 * time.Second, MaxAttempts: 8}}
	w, err := newProofWorker(q, db, proofHandlers(), cfg, os.Getenv(childBroken))
	if err != nil {
		return err
	}
	for w.Start(context.Background()) != nil {
		time.Sleep(10 * time.Millisecond) // Postgres is starting
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return w.Stop(context.Background())
}

// proofHandlers take some time, and fail sometimes.
func proofHandlers() queue.Handlers {
	work := func(m *queue.Message) error {
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond) // a call to another service
		switch {
		case m.Key == "poison":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case rand.IntN(10) == 0:
			return errors.New("it fails sometimes")
		}
		return nil
	}
	ledger := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		return func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO proof_effects VALUES ($1, $2, $3)`, m.ID, m.Attempt, len(m.History))
			return err
		}, work(m)
	}
	mail := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		if err := work(m); err != nil {
			return nil, err
		}
		report("mailed " + m.Key)
		return nil, nil
	}
	return queue.Handlers{"ledger": {"placed": ledger}, "mail": {"placed": mail}}
}

// newProofWorker returns a worker with a fault, which the proof must catch.
func newProofWorker(q *queue.Queue, db *pgxpool.Pool, handlers queue.Handlers, cfg queue.Config, broken string) (*queue.Worker, error) {
	w, err := queue.NewWorker(q, handlers, cfg)
	if err != nil || broken == "" {
		return w, err
	}
	w.WrapDeliver(func(ctx context.Context, d queue.Delivery, deliver func(context.Context, queue.Delivery) error) error {
		switch broken {
		case "ack before effect":
			if err := postgres.InTx(ctx, db, func(tx pgx.Tx) error { return d.Settle(ctx, tx) }); err != nil {
				return err
			}
			d.Settle = nil
		case "history lost on retry":
			d.Message.History = nil
		}
		err := deliver(ctx, d)
		if broken == "attempt used by shutdown" && errors.Is(err, queue.ErrInterrupted) {
			return errors.New("interrupted")
		}
		return err
	})
	return w, nil
}
