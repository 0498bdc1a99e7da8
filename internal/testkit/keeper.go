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
	// urlVariable holds the address of the run's cluster.
	urlVariable = "TEST_DATABASE_URL"
	// keeperVariable, when set, makes a program keep a cluster instead of doing what it usually does.
	keeperVariable = "TESTKIT_KEEP_CLUSTER"
)

// init turns this process into the keeper of a cluster, if it was started as one. A process of its
// own, told by the end of its input, stops the cluster and removes its files however the program
// that wanted it ends: by os.Exit, a panic, a timeout or a kill.
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
	c, err := startCluster(context.Background())
	if err != nil {
		_ = json.NewEncoder(out).Encode(keeperReport{Error: err.Error()})
		return
	}
	_ = json.NewEncoder(out).Encode(keeperReport{URL: c.server.URL()})
	_, _ = io.Copy(io.Discard, in)
	_ = c.stop()
}

// clusterURL is the address of the run's cluster, or of this process's own, which the first call
// starts and nothing stops but this process's end. Nothing waits for it, so that no goroutine is
// left for a test to find.
var clusterURL = sync.OnceValues(func() (string, error) {
	if address := os.Getenv(urlVariable); address != "" {
		return address, nil
	}
	var err error
	if ownKeeper, err = StartKeeper(); err != nil {
		return "", err
	}
	return ownKeeper.URL(), nil
})

// ownKeeper is held as long as this process lives: a keeper that is collected as garbage ends.
var ownKeeper *Keeper

// Keeper is a process that keeps a cluster as long as this process lives.
type Keeper struct {
	cmd  *exec.Cmd
	hold *os.File // the other end of its input
	url  string
}

// URL is the address of a database whose role may make others.
func (k *Keeper) URL() string { return k.url }

// Stop ends the cluster and waits until nothing is left of it.
func (k *Keeper) Stop() error { return errors.Join(k.hold.Close(), k.cmd.Wait()) }

// StartKeeper runs this program once more, as a keeper, and waits until its cluster is ready.
func StartKeeper() (*Keeper, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answer, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), hold.Close())
	}
	defer func() { _ = answer.Close() }()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), keeperVariable+"=1")
	cmd.Stdin, cmd.Stdout = in, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	err = cmd.Start()
	_, _ = in.Close(), out.Close()
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	k := &Keeper{cmd: cmd, hold: hold}
	var report keeperReport
	if err = json.NewDecoder(answer).Decode(&report); err != nil {
		err = fmt.Errorf("the keeper of the test cluster ended: %w", err)
	} else if report.Error != "" {
		err = errors.New(report.Error)
	}
	if err != nil {
		return nil, errors.Join(err, k.Stop())
	}
	k.url = report.URL
	return k, nil
}
