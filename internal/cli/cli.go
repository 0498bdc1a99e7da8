// Package cli is the command line: serving, migrating, and managing keys and
// plans.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"ratelimiter/docs"
	"ratelimiter/internal/config"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// commands is the command line. Every flag has an environment variable, and
// data can be printed as JSON.
type commands struct {
	config.Settings

	Serve   serveCommand   `cmd:"" default:"withargs" help:"Serve the API (the default)."`
	Migrate migrateCommand `cmd:"" help:"Apply pending migrations."`
	Keys    struct {
		Create  keysCreateCommand  `cmd:"" help:"Create an API key and print it, only this once."`
		List    keysListCommand    `cmd:"" help:"List the API keys."`
		Show    keysShowCommand    `cmd:"" help:"Show an API key without its secret."`
		Rotate  keysRotateCommand  `cmd:"" help:"Create a key's successor and print it, only this once."`
		Suspend keysSuspendCommand `cmd:"" help:"Reject an API key until it is resumed."`
		Resume  keysResumeCommand  `cmd:"" help:"End the suspension of an API key."`
		Revoke  keysRevokeCommand  `cmd:"" help:"End an API key for good, with those that it was rotated from and to."`
	} `cmd:"" help:"Manage API keys."`
	Plans struct {
		List  plansListCommand  `cmd:"" help:"List the plans."`
		Apply plansApplyCommand `cmd:"" help:"Apply a file of plans and print the differences."`
	} `cmd:"" help:"Manage plans: the policies of keys."`
	OpenAPI openAPICommand `cmd:"" name:"openapi" help:"Print the OpenAPI description."`
	Doctor  doctorCommand  `cmd:"" help:"Check settings, database, clock and versions, and print what to do."`
	Version versionCommand `cmd:"" help:"Print version, commit and Go version."`
}

// console is where a command prints: data and messages to out, logs to log.
type console struct {
	out io.Writer
	log *slog.Logger
}

// Main runs the command line of this process and returns its exit code. The
// first SIGINT or SIGTERM stops the server in order; a second one ends the
// shutdown delay, or the process at once.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var line commands
	code := 0
	exited := false
	parser, err := kong.New(&line,
		kong.Name("ratelimiter"),
		kong.Description("A REST API server with rate limiting built in. DATABASE_URL, DATABASE_LISTEN_URL, REDIS_URL and KEY_PEPPER are secrets: "+
			"they come from the environment or from files, because flags show in the process list."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { code, exited = c, true }))
	if err != nil {
		panic(err) // the struct above is invalid
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited: // --help
		return code
	case err != nil:
		fmt.Fprintf(stderr, "ratelimiter: %s\nSee 'ratelimiter --help'.\n", escape(err.Error()))
		return exitUsage
	}
	cfg, err := line.Config()
	if err == nil || parsed.Command() == "doctor" { // which reports the faults
		to := &console{out: stdout, log: slog.New(slog.NewJSONHandler(escaping{stderr}, nil))}
		parsed.BindTo(ctx, (*context.Context)(nil))
		err = parsed.Run(cfg, &line.Settings, to)
	}
	return report(stderr, err)
}

// report prints the error of a command and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "ratelimiter: %s\n", escape(err.Error()))
	if _, usage := errors.AsType[*config.Error](err); usage {
		return exitUsage
	}
	return exitFailure
}

// openAPICommand prints the API description.
type openAPICommand struct{}

// Run prints the description as the server serves it.
func (*openAPICommand) Run(to *console) error {
	_, err := to.out.Write(docs.OpenAPI())
	return err
}
