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
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/posener/complete"

	"ratelimiter/docs"
	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// commands is the command line. Every flag has an environment variable: that of
// a setting is named like the flag, that of another flag has the prefix
// RATELIMITER_. Data can be printed as JSON. The tag needs lists the settings that
// a command reads, by the tag of config.Settings, or "all".
type commands struct {
	config.Settings

	Serve   serveCommand   `cmd:"" default:"withargs" needs:"all" help:"Serve the API (the default)."`
	Migrate migrateCommand `cmd:"" needs:"database,migrating" help:"Apply pending migrations."`
	Keys    struct {
		Create  keysCreateCommand  `cmd:"" needs:"database,hashing" help:"Create an API key and print it, only this once."`
		List    keysListCommand    `cmd:"" help:"List the API keys, newest first."`
		Show    keysShowCommand    `cmd:"" help:"Show an API key and its policies, without its secret."`
		Rotate  keysRotateCommand  `cmd:"" needs:"database,hashing" help:"Create a key's successor and print it, only this once."`
		Suspend keysSuspendCommand `cmd:"" help:"Reject an API key until it is resumed."`
		Resume  keysResumeCommand  `cmd:"" help:"End the suspension of an API key."`
		Revoke  keysRevokeCommand  `cmd:"" help:"End an API key for good, with its chain of rotations."`
	} `cmd:"" needs:"database" help:"Manage API keys."`
	Plans struct {
		List  plansListCommand  `cmd:"" help:"List the plans."`
		Show  plansShowCommand  `cmd:"" help:"Show a plan with its policies."`
		Apply plansApplyCommand `cmd:"" help:"Apply a file of plans and print the differences."`
	} `cmd:"" needs:"database" help:"Manage plans: the policies of keys."`
	DeadLetters struct {
		List    deadLettersListCommand    `cmd:"" help:"List the dead letters, newest first."`
		Redrive deadLettersRedriveCommand `cmd:"" help:"Put dead letters back into their queues."`
		Discard deadLettersDiscardCommand `cmd:"" help:"Delete a dead letter for good."`
	} `cmd:"" needs:"database" help:"Manage dead letters: messages that were set aside."`
	Queues struct {
		List   queuesListCommand   `cmd:"" help:"List the queues with the numbers of their messages."`
		Pause  queuesPauseCommand  `cmd:"" help:"Stop the deliveries of a queue until it is resumed."`
		Resume queuesResumeCommand `cmd:"" help:"Start the deliveries of a paused queue again."`
	} `cmd:"" needs:"database" help:"Manage the message queues, one for each group."`
	OpenAPI    openAPICommand            `cmd:"" name:"openapi" help:"Print the OpenAPI description."`
	Doctor     doctorCommand             `cmd:"" help:"Check the settings, the database and the machine for serve."`
	Version    versionCommand            `cmd:"" help:"Print version, commit and Go version."`
	Completion kongcompletion.Completion `cmd:"" help:"Print how to complete commands in bash, zsh or fish."`
}

// console is where a command prints and asks: data to out, messages for people to
// notes, logs to log, progress to terminal, or as logs if that is nil, answers from in.
type console struct {
	out      io.Writer
	notes    io.Writer
	in       *os.File
	log      *slog.Logger
	terminal io.Writer
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
	parser, err := newParser(&line, kong.Writers(stdout, stderr), kong.Exit(func(c int) { code, exited = c, true }))
	if err != nil {
		panic(err) // the struct above is invalid
	}
	kongcompletion.Register(parser, kongcompletion.WithPredictor("file", complete.PredictFiles("*")))
	if exited { // the shell asked for completions
		return code
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited: // --help
		return code
	case err != nil:
		fault, command := explain(parser.Model.Node, args, err)
		fmt.Fprintf(stderr, "ratelimiter: %s\nSee '%s --help'.\n", escape(fault), command)
		return exitUsage
	}
	cfg, err := line.Config()
	if err == nil || needs(parsed.Selected()) == "" { // doctor reports the faults
		to := &console{out: stdout, notes: stderr, in: os.Stdin}
		var flush func()
		to.log, to.terminal, flush = newLogger(stderr, cfg)
		parsed.BindTo(ctx, (*context.Context)(nil))
		err = func() error {
			defer flush() // before the error is reported
			return parsed.Run(cfg, &line.Settings, to)
		}()
	}
	return report(stderr, err)
}

// newParser returns a parser into line.
func newParser(line *commands, options ...kong.Option) (*kong.Kong, error) {
	parser, err := kong.New(line, append(options,
		kong.Name("ratelimiter"),
		kong.Description("A REST API server with rate limiting built in."),
		kong.DefaultEnvars("RATELIMITER"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Help(printHelp))...)
	if err == nil {
		arrangeHelp(parser.Model)
	}
	return parser, err
}

// report prints the error of a command and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if unreachable, ok := errors.AsType[*postgres.ConnectionError](err); ok {
		err = unreachable // without the context of what was done
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
