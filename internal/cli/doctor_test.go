package cli

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ratelimiter/internal/postgres"
)

// TestDiagnosis_facts checks what each state of a database is worth.
func TestDiagnosis_facts(t *testing.T) {
	healthy := postgres.Facts{Encoding: "UTF8", StatementTimeout: "0"}
	for name, test := range map[string]struct {
		change  func(*postgres.Facts)
		pending bool
		want    string // check: result
	}{
		"healthy":             {change: func(*postgres.Facts) {}},
		"standby":             {change: func(f *postgres.Facts) { f.Standby, f.ReadOnly = true, true }, want: "writes: failure"},
		"read-only":           {change: func(f *postgres.Facts) { f.ReadOnly = true }, want: "writes: warning"},
		"read-only, pending":  {change: func(f *postgres.Facts) { f.ReadOnly = true }, pending: true, want: "writes: failure"},
		"Latin 1":             {change: func(f *postgres.Facts) { f.Encoding = "LATIN1" }, want: "encoding: warning"},
		"fsync off":           {change: func(f *postgres.Facts) { f.Off = []string{"fsync"} }, want: "durability: warning"},
		"clock ahead":         {change: func(f *postgres.Facts) { f.ClockAhead = -2 * time.Second }, want: "clock: warning"},
		"clock behind":        {change: func(f *postgres.Facts) { f.ClockAhead = 2 * time.Second }, want: "clock: warning"},
		"clock, slow network": {change: func(f *postgres.Facts) { f.ClockAhead, f.ClockError = 2*time.Second, 2*time.Second }},
		"pooler, no timeout":  {change: func(f *postgres.Facts) { f.Pooler = true }, want: "timeouts: warning"},
		"pooler, timeout":     {change: func(f *postgres.Facts) { f.Pooler, f.StatementTimeout = true, "15s" }},
	} {
		t.Run(name, func(t *testing.T) {
			d := &diagnosis{facts: healthy, pending: test.pending}
			test.change(&d.facts)
			var got []string
			for _, c := range []check{
				{"writes", d.checkWrites}, {"encoding", d.checkEncoding}, {"durability", d.checkDurability}, {"clock", d.checkClock}, {"timeouts", d.checkTimeouts},
			} {
				f := c.run(t.Context())
				if f.Result == resultWarning || f.Result == resultFailure {
					got = append(got, c.name+": "+f.Result)
					if f.Advice == "" {
						t.Errorf("%s has no advice", c.name)
					}
				}
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %v; want %s", got, test.want)
			}
		})
	}
}

func TestPrintFindings(t *testing.T) {
	var out strings.Builder
	err := printFindings(&out, []finding{
		{"durability", resultWarning, strings.Repeat("words of öny length ", 20), "Advice\x1b[31m."},
		{"settings", resultFailure, "first fault\nsecond fault", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		if utf8.RuneCountInString(line) > 80 || strings.Contains(line, "\x1b") {
			t.Errorf("got line %q of %d columns; want at most 80, without control characters", line, utf8.RuneCountInString(line))
		}
	}
	if want := "settings    failure  first fault\n                     second fault\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got\n%s", &out)
	}
}
