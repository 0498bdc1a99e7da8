package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

const (
	// urlVariable is the environment variable with the URL of the cluster.
	urlVariable = "TEST_DATABASE_URL"
	// keeperVariable is the environment variable that makes this program a keeper.
	keeperVariable = "TESTKIT_KEEP_CLUSTER"
)

// init runs the keeper of a cluster in processes that StartKeeper started. The keeper is a separate
// process, so that the cluster is stopped and removed however its user ends: by os.Exit, a panic, a
// timeout or a signal. The end of standard input marks the end of the user.
func init() {
	if os.Getenv(keeperVariable) != "" {
		keepCluster(os.Stdin, os.Stdout)
		os.Exit(0)
	}
}

// keeperReport is the line that a keeper prints once the cluster is ready or has failed.
type keeperReport struct{ URL, Error string }

// keepCluster starts a cluster, reports it, and stops it at the end of in.
func keepCluster(in io.Reader, out io.Writer) {
	c, err := startCluster(context.Background())
	if err != nil {
		_ = json.NewEncoder(out).Encode(keeperReport{Error: err.Error()})
		return
	}
	_ = json.NewEncoder(out).Encode(keeperReport{URL: c.server.URL()})
	_, _ = io.Copy(io.Discard, in)
	_ = c.stop()
}

// clusterURL returns the URL of the cluster of the run, or starts one that lasts as long as this
// process. No goroutine waits for the keeper: leak detectors would report it.
var clusterURL = sync.OnceValues(func() (string, error) {
	if address := os.Getenv(urlVariable); address != "" {
		return address, nil
	}
	var err error
	if ownKeeper, err = StartKeeper(); err != nil {
		return "", err
	}
	return ownKeeper.URL, nil
})

// ownKeeper references the keeper of this process: collecting it as garbage would stop the cluster.
var ownKeeper *Keeper

// Keeper is a process that runs a cluster until Stop or the end of this process.
type Keeper struct {
	URL string // of a database whose role may create databases

	cmd  *exec.Cmd
	hold io.Closer // its input
}

// Stop stops the cluster and waits until its files are removed.
func (k *Keeper) Stop() error { return errors.Join(k.hold.Close(), k.cmd.Wait()) }

// StartKeeper runs this program as a keeper and waits until its cluster is ready.
func StartKeeper() (*Keeper, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), keeperVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not stop it
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	results, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	k := &Keeper{cmd: cmd, hold: hold}
	var report keeperReport
	if err = json.NewDecoder(results).Decode(&report); err != nil {
		err = fmt.Errorf("the keeper of the test cluster ended: %w", err)
	} else if report.Error != "" {
		err = errors.New(report.Error)
	}
	if err != nil {
		return nil, errors.Join(err, k.Stop())
	}
	k.URL = report.URL
	return k, nil
}
