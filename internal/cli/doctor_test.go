package cli

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
)

// TestDiagnosis_facts checks what each state of a database is worth.
func TestDiagnosis_facts(t *testing.T) {
	healthy := postgres.Facts{Encoding: "UTF8", StatementTimeout: "0", Connections: 79, MaxConnections: 97, Oldest: time.Minute}
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
		"few connections":     {change: func(f *postgres.Facts) { f.Connections = 80 }, want: "connections: warning"},
		"long transaction":    {change: func(f *postgres.Facts) { f.Oldest, f.OldestPID = 2*time.Minute, 7 }, want: "changes: warning"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &diagnosis{facts: healthy, pending: test.pending, cfg: &config.Config{DatabaseURL: "postgres://u@127.0.0.1/x"}}
			test.change(&d.facts)
			var got []string
			checks := []check{
				{"writes", d.checkWrites}, {"encoding", d.checkEncoding}, {"durability", d.checkDurability}, {"clock", d.checkClock}, {"timeouts", d.checkTimeouts},
				{"connections", d.checkConnections},
			}
			if d.facts.Oldest > maxTransaction { // otherwise it needs a database
				checks = append(checks, check{"changes", d.checkChanges})
			}
			for _, c := range checks {
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

func TestDiagnosis_host(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	networks := func(texts ...string) (list []netip.Prefix) {
		for _, text := range texts {
			list = append(list, netip.MustParsePrefix(text))
		}
		return list
	}
	d := &diagnosis{cfg: &config.Config{}}
	defer d.close()
	address := func(addr string) func() finding {
		return func() finding { return d.checkAddress(t.Context(), "HTTP_ADDR", addr) }
	}
	with := func(cfg config.Config, run func(*diagnosis) finding) func() finding {
		return func() finding { return run(&diagnosis{cfg: &cfg}) }
	}
	folder := func(d *diagnosis) finding { return d.checkDataDir(t.Context()) }
	proxies := func(d *diagnosis) finding { return d.checkProxies(t.Context()) }
	type testCase struct {
		run  func() finding
		want string
	}
	tests := map[string]testCase{
		"free":               {address("127.0.0.1:0"), "ok: 127.0.0.1:0 is free"},
		"of another setting": {address(taken.Addr().String()), "failure: " + taken.Addr().String() + " is the address of another setting"},
		"not of the machine": {address("192.0.2.1:80"), "failure: listen tcp 192.0.2.1:80: "},
		"folder":             {with(config.Config{DataDir: dir}, folder), "ok: " + dir + ": writable"},
		"no folder yet":      {with(config.Config{DataDir: dir + "/a/b"}, folder), "ok: " + dir + "/a/b: serve creates it"},
		"a file":             {with(config.Config{DataDir: file}, folder), "failure: " + file + ": " + file + " is not a folder"},
		"below a file":       {with(config.Config{DataDir: file + "/a", DatabaseURL: "x"}, folder), "warning: " + file + "/a: "},
		"no proxies":         {with(config.Config{}, proxies), "ok: none is trusted"},
		"proxies":            {with(config.Config{TrustedProxies: networks("10.0.0.0/8", "::1/128")}, proxies), "ok: 10.0.0.0/8 ::1/128 trusted"},
		"everybody":          {with(config.Config{TrustedProxies: networks("10.0.0.0/8", "0.0.0.0/0")}, proxies), "warning: TRUSTED_PROXIES has 0.0.0.0/0"},
	}
	if os.Geteuid() != 0 { // who may write everywhere
		tests["read-only"] = testCase{with(config.Config{DataDir: "/ratelimiter"}, folder), "failure: /ratelimiter: permission denied"}
	}
	for name, test := range tests {
		f := test.run()
		if got := f.Result + ": " + f.Found; !strings.HasPrefix(got, test.want) || f.Result != resultOK && f.Advice == "" {
			t.Errorf("%s: got %q with advice %q; want %q", name, got, f.Advice, test.want)
		}
	}
}
