package pgbin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// packageTimeout bounds the installation, its download included.
	packageTimeout = 5 * time.Minute
	// packageStop is how long apt-get may take to end in order after it was told to: killed at
	// once, it would leave half-installed packages.
	packageStop = 30 * time.Second
	// packageFaults is how many of a failed run's faults the error shows.
	packageFaults = 3
)

// apt installs Debian's package. Its fields are what it sees of the machine.
type apt struct {
	root   string // put before the paths of Debian; "" on a real machine
	euid   int
	onPath func(name string) (string, error)
	run    func(ctx context.Context, program string, args ...string) ([]byte, error)
}

// installPackage installs the distribution's package on Debian and Ubuntu, as root.
func installPackage(ctx context.Context, want Want) (Install, error) {
	if runtime.GOOS != "linux" {
		return Install{}, errors.New("this is not Debian or Ubuntu")
	}
	return apt{euid: os.Geteuid(), onPath: exec.LookPath, run: runQuietly}.install(ctx, want)
}

// install runs apt-get without questions, and returns the programs that it brought.
func (a apt) install(ctx context.Context, want Want) (Install, error) {
	program, err := a.onPath("apt-get")
	if err != nil {
		return Install{}, errors.New("there is no apt-get")
	}
	if a.euid != 0 {
		return Install{}, errors.New("this process is not root")
	}
	name := "postgresql"
	if want.Major != 0 {
		name = fmt.Sprintf("postgresql-%d", want.Major)
	}
	restore, err := a.withoutCluster()
	if err != nil {
		return Install{}, err
	}
	if want.Log != nil {
		want.Log.Info("installing Postgres", "package", name)
	}
	ctx, cancel := context.WithTimeout(ctx, packageTimeout)
	defer cancel()
	// A list that can't be renewed may still do.
	_, updateErr := a.run(ctx, program, "-q", "update")
	out, err := a.run(ctx, program, "-q", "-y", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=60", "install", name)
	if err != nil {
		err = fmt.Errorf("apt-get install %s: %w: %s", name, err, aptFaults(out))
		return Install{}, errors.Join(err, updateErr, restore())
	}
	if err := restore(); err != nil {
		return Install{}, err
	}
	dirs, err := filepath.Glob(a.root + "/usr/lib/postgresql/*/bin")
	if err != nil {
		return Install{}, err
	}
	return best(ctx, dirs, want)
}

// aptFaults are the last lines that apt-get marked as errors, or its last line at all.
func aptFaults(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var faults []string
	for _, line := range lines {
		if strings.HasPrefix(line, "E: ") {
			faults = append(faults, strings.TrimSpace(line))
		}
	}
	if len(faults) == 0 {
		return lines[len(lines)-1]
	}
	return strings.Join(faults[max(0, len(faults)-packageFaults):], "; ")
}

// withoutCluster keeps the package from making a cluster of its own and starting it on port 5432,
// which nobody asked for. The setting lies in a file that is there during the installation alone,
// so that an operator who installs Postgres later gets what the package usually does.
func (a apt) withoutCluster() (restore func() error, err error) {
	folder := a.root + "/etc/postgresql-common/createcluster.d"
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "ratelimiter.conf")
	if err := os.WriteFile(file, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}, nil
}

// runQuietly runs a package manager's command without questions. It has a process group of its
// own: a Ctrl-C ends the context, which asks it to stop in order.
func runQuietly(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = packageStop
	return cmd.CombinedOutput()
}
