package queuetest

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

// Environment of a child process of a proof.
const (
	childRole     = "QUEUE_CHILD"          // publisher or worker
	childFault    = "QUEUE_CHILD_FAULT"    // the fault to have; "": none
	childDatabase = "QUEUE_CHILD_DATABASE" // file with the URL of the database
	childBroker   = "QUEUE_CHILD_BROKER"   // address of the broker
	childPrefix   = "QUEUE_CHILD_PREFIX"   // of its queues
)

// NewWorker returns a worker of a proof that has a fault, if it isn't "". address and
// prefix are the broker's.
type NewWorker func(q *queue.Queue, db *pgxpool.Pool, handlers queue.Handlers, cfg queue.Config, fault, address, prefix string) (*queue.Worker, error)

// Main runs the tests of a package, or is one of the processes of its proofs.
func Main(m *testing.M, newWorker NewWorker) {
	if role := os.Getenv(childRole); role != "" {
		if err := runChild(role, newWorker); err != nil {
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
func runChild(role string, newWorker NewWorker) error {
	db, err := testkit.OpenAddressFile(os.Getenv(childDatabase))
	if err != nil {
		return err
	}
	defer db.Close()
	q, err := queue.New(db, proofRoutes, quiet())
	if err != nil {
		return err
	}
	if role == "publisher" {
		return runPublisher(q, db)
	}
	return runWorker(q, db, newWorker)
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
		if os.Getenv(childFault) != PublishAfterCommit {
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
	if os.Getenv(childFault) == PublishAfterCommit {
		if err := postgres.InTx(ctx, db, change); err != nil {
			return err
		}
		report("acknowledged " + n)
		return postgres.InTx(ctx, db, send)
	}
	return postgres.InTx(ctx, db, func(tx pgx.Tx) error { return errors.Join(change(tx), send(tx)) })
}

// runWorker delivers messages until the end of input.
func runWorker(q *queue.Queue, db *pgxpool.Pool, newWorker NewWorker) error {
	cfg := queue.Config{Retry: queue.RetryPolicy{Base: 100 * time.Millisecond, Cap: 5 * time.Second, MaxAttempts: 8}}
	w, err := newWorker(q, db, proofHandlers(), cfg, os.Getenv(childFault), os.Getenv(childBroker), os.Getenv(childPrefix))
	if err != nil {
		return err
	}
	for w.Start(context.Background()) != nil {
		time.Sleep(10 * time.Millisecond) // Postgres is starting
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return w.Stop(context.Background())
}

// proofHandlers take some time, and fail sometimes. With a fault they take longer, so
// that kills meet more deliveries.
func proofHandlers() queue.Handlers {
	most := 5
	if os.Getenv(childFault) != "" {
		most = 50
	}
	work := func(m *queue.Message) error {
		time.Sleep(time.Duration(rand.IntN(most)) * time.Millisecond) // a call to another service
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
