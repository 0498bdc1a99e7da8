package orderproof

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/alecthomas/kong"

	"ratelimiter/internal/app"
	"ratelimiter/internal/config"
	"ratelimiter/internal/testkit"
)

var (
	proofOrders  = flag.Int("proof-orders", 120, "orders of the proof")
	proofKills   = flag.Int("proof-kills", 1, "SIGKILLs of each server, of the gateway and of Postgres")
	proofCancels = flag.Int("proof-cancels", 100, "cancels that race the workers")
	proofSeed    = flag.Uint64("proof-seed", 0, "what is ordered, cancelled and killed; 0: another seed each time")
)

// Environment of a process of the proof.
const (
	childRole    = "ORDERPROOF_ROLE"    // roleServer or roleGateway
	childAddress = "ORDERPROOF_ADDRESS" // file with the URL of the database
	childFault   = "ORDERPROOF_FAULT"   // a broken variant's; empty: the product
)

// Roles of a process.
const (
	roleServer  = "server"  // API and workers
	roleGateway = "gateway" // dev mode, of which the others use the payment gateway
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

// runChild is a server with the settings of its environment. It stops in order when
// standard input ends.
func runChild(role string) error {
	var settings config.Settings
	parser, err := kong.New(&settings)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(nil); err != nil {
		return err
	}
	cfg, err := settings.Config()
	if err != nil {
		return err
	}
	if err := cfg.LoadPeppers(false); err != nil {
		return err
	}
	o := app.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Out: io.Discard, Dev: role == roleGateway, Isolated: role == roleGateway}
	if o.DB, err = testkit.OpenAddressFile(os.Getenv(childAddress)); err != nil {
		return err
	}
	if o.ListenDB, err = testkit.OpenAddressFile(os.Getenv(childAddress)); err != nil {
		return err
	}
	if fault := os.Getenv(childFault); fault != "" && role == roleServer {
		if o.Handlers, err = brokenHandlers(o.DB, fault); err != nil {
			return err
		}
	}
	server, err := app.New(cfg, o)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return server.Run(ctx)
}
