package testkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

const (
	// urlVariable holds the address of the run's cluster.
	urlVariable = "TEST_DATABASE_URL"
	// keeperVariable, when set, makes a test binary keep a cluster instead of running tests.
	keeperVariable = "TESTKIT_KEEP_CLUSTER"
)

// init turns this process into the keeper of a cluster, if it was started as one. A process of its
// own, told by the end of its input, stops the cluster and removes its files however the tests
// end: by os.Exit, a panic, a timeout or a kill.
func init() {
	if os.Getenv(keeperVariable) != "" {
		keepCluster(os.Stdin, os.Stdout)
		os.Exit(0)
	}
}

// keeperReport is the one line that a keeper prints.
type keeperReport struct{ URL, Error string }

// keepCluster starts a cluster, reports it, and stops it when its input ends.
func keepCluster(in io.Reader, out io.Writer) {
	cluster, err := StartCluster(context.Background(), slog.New(slog.DiscardHandler))
	if err != nil {
		_ = json.NewEncoder(out).Encode(keeperReport{Error: err.Error()})
		return
	}
	_ = json.NewEncoder(out).Encode(keeperReport{URL: cluster.URL()})
	_, _ = io.Copy(io.Discard, in)
	_ = cluster.Stop()
}

// clusterURL is the address of the run's cluster, or of this process's own, which the first call
// starts.
var clusterURL = sync.OnceValues(func() (string, error) {
	if address := os.Getenv(urlVariable); address != "" {
		return address, nil
	}
	return startKeeper()
})

// keeperInput is held open as long as this process lives.
var keeperInput *os.File

// startKeeper runs this test binary once more, as a keeper. Nothing waits for it, so that no
// goroutine is left for a test to find.
func startKeeper() (string, error) {
	binary, err := os.Executable()
	if err != nil {
		return "", err
	}
	in, hold, err := os.Pipe()
	if err != nil {
		return "", err
	}
	answer, out, err := os.Pipe()
	if err != nil {
		return "", errors.Join(err, in.Close(), hold.Close())
	}
	defer func() { _ = answer.Close() }()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), keeperVariable+"=1")
	cmd.Stdin, cmd.Stdout = in, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	err = cmd.Start()
	_, _ = in.Close(), out.Close()
	if err != nil {
		return "", errors.Join(err, hold.Close())
	}
	keeperInput = hold
	var report keeperReport
	if err := json.NewDecoder(bufio.NewReader(answer)).Decode(&report); err != nil {
		return "", fmt.Errorf("the cluster's keeper ended: %w", err)
	}
	if report.Error != "" {
		return "", errors.New(report.Error)
	}
	return report.URL, nil
}
