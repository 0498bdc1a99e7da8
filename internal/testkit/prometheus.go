package testkit

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// prometheusTimeout bounds the start of Prometheus.
const prometheusTimeout = 20 * time.Second

// Promtool runs promtool and returns its output. If it is not installed, the test fails when
// REQUIRE_REAL_SERVICES is 1 and is skipped otherwise.
func Promtool(t testing.TB, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(findPrometheus(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// NewPrometheus starts a Prometheus that scrapes /metrics at target, host and port, ten times a
// second, and evaluates the alert rules of a file. It returns its base URL. It is stopped at the end
// of the test. If it is not installed, the test fails or is skipped as with Promtool.
func NewPrometheus(t testing.TB, target, rules string) string {
	t.Helper()
	program := findPrometheus(t, "prometheus")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	folder := t.TempDir()
	config := filepath.Join(folder, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 100ms, evaluation_interval: 100ms}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: ratelimiter, static_configs: [{targets: [%q]}]}]\n", rules, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+addr)
	var output strings.Builder
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	for deadline := time.Now().Add(prometheusTimeout); ; time.Sleep(10 * time.Millisecond) {
		if response, err := http.Get("http://" + addr + "/-/ready"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return "http://" + addr
			}
		}
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("Prometheus doesn't start:\n%s", output.String())
		}
	}
}

func findPrometheus(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	missing := "NOT RUN: this test needs " + program + "; scripts/install-prometheus.sh installs it"
	if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
