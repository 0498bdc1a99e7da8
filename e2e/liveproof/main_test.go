package liveproof

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	proofClients      = flag.Int("live-clients", 200, "clients of the proof")
	proofTerminations = flag.Int("live-terminations", 16, "terminations of the database connections that listen")
	proofKills        = flag.Int("live-kills", 3, "SIGKILLs of servers")
	proofStalled      = flag.Int("live-stalled", 200, "clients that don't read")
	benchWatchers     = flag.String("live-watchers", "100,1000,5000", "numbers of watchers to measure")
	benchPicture      = flag.String("live-picture", "", "file to draw the latencies to")
)

// folder holds the program.
var folder string

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if folder, err = os.MkdirTemp("", "ratelimiter-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// program builds the program once, without the race detector, and returns its path.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "ratelimiter")
	out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})
