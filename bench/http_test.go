package main

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/procfs"

	"ratelimiter/internal/apikeys"
)

func TestParseWrk(t *testing.T) {
	output := "Running 1s test @ http://127.0.0.1:1\n  1 threads and 16 connections\nRequests/sec:  20000.00\nbench: 20100 1005000 350 4200 20099 1\n"
	got, err := parseWrk(output)
	if want := (wrkResult{20100, 1.005, 0.35, 4.2, 20099, 1}); err != nil || got != want {
		t.Errorf("got %+v, error %v; want %+v", got, err, want)
	}
	for _, output := range []string{"", "unable to connect to 127.0.0.1:1\n", "bench: 1 2\n", "bench: 0 1005000 0 0 0 0\n"} {
		if got, err := parseWrk(output); err == nil {
			t.Errorf("%q: got %+v; want an error", output, got)
		}
	}
}

func TestProcesses_tree(t *testing.T) {
	page := (&procfs.ProcStat{RSS: 1}).ResidentMemory()
	list := processes{
		{PID: 1, UTime: 1, RSS: 1}, {PID: 2, PPID: 1, UTime: 10, STime: 20, CUTime: 30, CSTime: 40, RSS: 10},
		{PID: 3, PPID: 2, UTime: 100, RSS: 100}, {PID: 4, PPID: 1, UTime: 1000, RSS: 1000}, {PID: 5, PPID: 3, STime: 10000, RSS: 10000},
	}
	if cpu, resident := list.tree(2); cpu != 102 || resident != 10110*page {
		t.Errorf("got %v s, %d bytes; want 102 s, 10,110 pages", cpu, resident)
	}
}

func needProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's /proc")
	}
}

// A server without a Postgres doesn't get the time of the whole machine.
func TestProcess_spent_without_database(t *testing.T) {
	needProc(t)
	p := process{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
	if used, err := p.spent(t.Context()); err != nil || used.database != 0 || used.resident == 0 {
		t.Errorf("got %+v, error %v; want no time of a database", used, err)
	}
}

// The CPU time of an ended child is its parent's.
func TestReadProcesses(t *testing.T) {
	needProc(t)
	before, _ := readProcesses().tree(os.Getpid())
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	used := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if after, _ := readProcesses().tree(os.Getpid()); after-before < used-0.02 {
		t.Errorf("got %v s; want %v at least", after-before, used)
	}
}

func TestParseMallocs(t *testing.T) {
	got, err := parseMallocs("# TYPE go_memstats_mallocs_total counter\ngo_memstats_mallocs_total 1.234567e+06\nx 1\n")
	if err != nil || got != 1234567 {
		t.Errorf("got %v, error %v", got, err)
	}
	if _, err := parseMallocs("go_goroutines 3\n"); err == nil {
		t.Error("got no error without the metric")
	}
}

func TestSpread(t *testing.T) {
	// The ratios of the rounds are 0.5, 0.6, 0.7, 0.8, 0.9.
	if got, want := spread([]float64{50, 120, 7, 16, 9}, []float64{100, 200, 10, 20, 10}), "0.70 × (0.60 to 0.80)"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	if got := quantile([]float64{4, 1}, 0.25); got != 1.75 {
		t.Errorf("got %v; want 1.75", got)
	}
}

func TestBlock_String(t *testing.T) {
	for keys, want := range map[int]string{1: "a, 1 key", 2_000: "a, 2,000 keys", maxKeys: "a, 100,000 keys"} {
		if got := (&block{name: "a", keys: keys}).String(); got != want {
			t.Errorf("got %s; want %s", got, want)
		}
	}
}

// Each goal names a block and its servers.
func TestGoals(t *testing.T) {
	servers := map[string][]string{}
	for _, b := range blocks() {
		servers[b.String()] = b.servers
	}
	for _, g := range goals {
		all := strings.Join(servers[g.block], "\n") + "\n"
		if !strings.Contains(all, g.server+"\n") || !strings.Contains(all, g.than) {
			t.Errorf("%s: %s and %s aren't both measured in %q", g.what, g.server, g.than, g.block)
		}
	}
}

func TestNewKey(t *testing.T) {
	text, id, err := newKey()
	if parsed, parseErr := apikeys.ParseID(text); err != nil || parseErr != nil || parsed != id {
		t.Errorf("got %q, id %q, errors %v, %v", text, id, err, parseErr)
	}
}

func TestNginxResponse(t *testing.T) {
	got := nginxResponse("/file", http.Header{"Content-Length": {"2"}, "Content-Type": {"application/json"}, "Etag": {`"1"`}})
	for _, want := range []string{`alias /file;`, `default_type "application/json";`, `add_header Etag "\"1\"" always;`} {
		if !strings.Contains(got, want) || strings.Contains(got, "Content-Length") {
			t.Errorf("got %s; want %s in it and no Content-Length", got, want)
		}
	}
}

func TestStartProcess_ends(t *testing.T) {
	p := process{log: filepath.Join(t.TempDir(), "log")}
	if _, err := startProcess(t.Context(), p, "http://127.0.0.1:1/", nil, "sh", "-c", "echo because; exit 3"); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("got error %v; want one with the output", err)
	}
}

// A peer that sends other bytes isn't compared with.
func TestCheckPeer(t *testing.T) {
	want := response{http.StatusTooManyRequests, http.Header{"Content-Length": {"4"}, "Content-Type": {"text/plain"}, "X-Field": {"1"}}, "body"}
	for name, c := range map[string]struct {
		server string
		change func(*response)
		same   bool
	}{
		"same":                  {bareGin, func(*response) {}, true},
		"other status":          {bareGin, func(r *response) { r.Status = http.StatusOK }, false},
		"other body":            {nginx, func(r *response) { r.Body = "else" }, false},
		"other field":           {bareGin, func(r *response) { r.Header.Set("X-Field", "2") }, false},
		"field more":            {bareGin, func(r *response) { r.Header.Set("X-More", "1") }, false},
		"field more of another": {nginx, func(r *response) { r.Header.Set("X-More", "1") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			sent := want
			sent.Header = want.Header.Clone()
			c.change(&sent)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), sent.Header)
				w.WriteHeader(sent.Status)
				_, _ = io.WriteString(w, sent.Body)
			}))
			defer server.Close()
			if err := checkPeer(t.Context(), c.server, server.URL, responses{"/": want}); (err == nil) != c.same {
				t.Errorf("got error %v", err)
			}
		})
	}
}
