package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
)

// Results of a check. A failure keeps serve from starting.
const (
	resultOK      = "ok"
	resultWarning = "warning"
	resultFailure = "failure"
)

// doctorTimeout bounds each check.
const doctorTimeout = 10 * time.Second

// finding is what a check found. Without a result, there was nothing to check.
type finding struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do
}

// check is one check of doctor.
type check struct {
	name string
	run  func(ctx context.Context) finding
}

// doctorCommand checks what serve needs.
type doctorCommand struct {
	Dev  bool `help:"Check for 'serve --dev', which creates a key pepper."`
	JSON bool `help:"Print JSON."`
}

// diagnosis is what the checks share. A check may rely on those before it.
type diagnosis struct {
	settings *config.Settings
	dev      bool
	cfg      *config.Config // nil: the settings are invalid
	db       *pgxpool.Pool  // nil: not connected
	facts    postgres.Facts // of db
	pending  bool           // migrations of db
	direct   *pgxpool.Pool  // what DATABASE_LISTEN_URL connects to; nil: db

	listeners []net.Listener // keep what was found free
}

// checks returns the checks in the order of their output.
func (d *diagnosis) checks() []check {
	return []check{
		{"settings", d.checkSettings},
		{"versions", d.checkVersions},
		{"dev mode", d.configured(d.checkDevMode)},
		{"data folder", d.configured(d.checkDataDir)},
		{"HTTP_ADDR", d.configured(func(ctx context.Context) finding { return d.checkAddress(ctx, "HTTP_ADDR", d.cfg.HTTPAddr) })},
		{"OPS_ADDR", d.configured(func(ctx context.Context) finding { return d.checkAddress(ctx, "OPS_ADDR", d.cfg.OpsAddr) })},
		{"proxies", d.configured(d.checkProxies)},
		{"database", d.configured(d.checkDatabase)},
		{"schema", d.connected(d.checkSchema)},
		{"pepper", d.configured(d.checkPepper)},
		{"writes", d.connected(d.checkWrites)},
		{"encoding", d.connected(d.checkEncoding)},
		{"listen", d.connected(d.checkListen)},
		{"changes", d.connected(d.checkChanges)},
		{"timeouts", d.connected(d.checkTimeouts)},
		{"durability", d.connected(d.checkDurability)},
		{"clock", d.connected(d.checkClock)},
		{"partitions", d.connected(d.checkPartitions)},
		{"queue", d.connected(d.checkQueue)},
		{"broker", d.configured(d.checkBroker)},
		{"connections", d.connected(d.checkConnections)},
		{"redis", d.checkRedis},
		{"payment", d.configured(d.checkPayment)},
		{"mail", d.configured(d.checkMail)},
	}
}

// configured returns a check that applies only to valid settings.
func (d *diagnosis) configured(run func(context.Context) finding) func(context.Context) finding {
	return func(ctx context.Context) finding {
		if d.cfg == nil {
			return finding{}
		}
		return run(ctx)
	}
}

// close ends what the checks left open.
func (d *diagnosis) close() {
	for _, pool := range []*pgxpool.Pool{d.db, d.direct} {
		if pool != nil {
			pool.Close()
		}
	}
	for _, listener := range d.listeners {
		_ = listener.Close()
	}
}

// connected returns a check that applies only to a database that was reached.
func (d *diagnosis) connected(run func(context.Context) finding) func(context.Context) finding {
	return func(ctx context.Context) finding {
		if d.db == nil {
			return finding{}
		}
		return run(ctx)
	}
}

// Run prints what the checks found. The error names the failures.
func (c *doctorCommand) Run(ctx context.Context, settings *config.Settings, to *console) error {
	d := &diagnosis{settings: settings, dev: c.Dev}
	defer d.close()
	var findings []finding
	var failed []string
	for _, check := range d.checks() {
		ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
		f := check.run(ctx)
		cancel()
		if f.Result == "" {
			continue
		}
		if f.Result == resultFailure {
			failed = append(failed, check.name)
		}
		f.Name = check.name
		findings = append(findings, f)
	}
	var err error
	if c.JSON {
		err = printJSON(to.out, map[string]any{"checks": findings})
	} else {
		err = printFindings(to.out, findings)
	}
	if err == nil && len(failed) > 0 {
		err = fmt.Errorf("serve can't start: see %s", strings.Join(failed, ", "))
	}
	return err
}

// Widths of the columns of the table: 80 in all, so that it fits any terminal.
const checkWidth, resultWidth, textWidth = 12, 9, 59

// printFindings prints a table. Found and advice are wrapped at words.
func printFindings(out io.Writer, findings []finding) error {
	var b strings.Builder
	row := func(check, result, text string) {
		fmt.Fprintf(&b, "%-*s%-*s%s\n", checkWidth, check, resultWidth, result, text)
	}
	row("CHECK", "RESULT", "FOUND")
	for _, f := range findings {
		lines := append(wrap(f.Found), wrap(f.Advice)...)
		row(f.Name, f.Result, lines[0])
		for _, line := range lines[1:] {
			row("", "", line)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// wrap splits a text into lines of textWidth, and longer words as they are.
// Control characters are escaped.
func wrap(text string) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch word = printable(word); {
			case line == "":
				line = word
			case utf8.RuneCountInString(line+" "+word) > textWidth:
				lines, line = append(lines, line), word
			default:
				line += " " + word
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
