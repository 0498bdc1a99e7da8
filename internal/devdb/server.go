package devdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	startTimeout = 2 * time.Minute // including crash recovery, but no download
	portAttempts = 5               // other programs may take a port first
)

var errPortTaken = errors.New("another program took the port of the private Postgres")

// Server is a running private Postgres: a child of this process, or another process's that it
// attached to. It is safe for concurrent use.
type Server struct {
	cfg        Config
	shortLived bool // other processes wait for this owner instead of attaching to it
	attached   bool // the Postgres is another process's; the fields from lock on are unused
	port       uint16
	password   string
	done       chan struct{} // closed when the child has ended, or by Stop if attached
	stop       sync.Once
	stopErr    error

	lock    *os.File // owner.lock, locked
	bin     string   // folder of the programs
	major   int
	account *syscall.Credential // runs Postgres; nil means the current user
	path    string              // of the data folder
	folder  *os.File            // the data folder, open and locked
	child   *exec.Cmd
	kill    context.CancelFunc
	output  *output // of the child
	err     error   // how the child ended; valid once done is closed
}

// serve prepares the data folder and runs Postgres on the first port that is free.
func (s *Server) serve(ctx context.Context, hasData bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.prepare(ctx, hasData); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		if err := s.startChild(ctx); attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

// freePort returns a loopback port that was free a moment ago. Tests replace it.
var freePort = func(ctx context.Context) (uint16, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", loopback+":0")
	if err != nil {
		return 0, err
	}
	return uint16(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// startChild runs Postgres until it accepts connections. The settings are on the command line: a
// new version of this program changes them without a change to the data.
func (s *Server) startChild(ctx context.Context) (err error) {
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	args := []string{
		"-c", "listen_addresses=" + loopback, "-c", fmt.Sprintf("port=%d", s.port),
		// The data folder, relative to the server's working folder: a socket's path may have
		// about 107 bytes, and DATA_DIR may be longer.
		"-c", "unix_socket_directories=.",
		// The text of queries may hold personal data and isn't logged.
		"-c", "log_min_messages=log", "-c", "log_min_error_statement=panic", "-c", "log_error_verbosity=terse",
		"-c", "timezone=UTC", "-c", "jit=off", // compiling costs more than these short queries
	}
	for name, value := range s.cfg.Settings {
		args = append(args, "-c", name+"="+value)
	}
	running, kill := context.WithCancel(context.WithoutCancel(ctx))
	s.child, s.kill = s.command(running, syscall.SIGINT, "postgres", args...), kill
	s.output, s.done = &output{}, make(chan struct{})
	s.child.Stdout, s.child.Stderr = s.output, s.output
	go func() {
		runtime.LockOSThread() // for the parent death signal: the thread ends with this goroutine
		if err := s.child.Run(); err != nil {
			s.err = fmt.Errorf("the private Postgres ended: %w\n%s", err, s.output)
		}
		close(s.done)
	}()
	if err = s.awaitReady(ctx); err == nil {
		err = s.publish(s.port)
	}
	if err != nil {
		kill()
		<-s.done
	}
	return err
}

// awaitReady waits until the child accepts connections and the password. The child says first that
// it is ready: if another program took the port, that program must not be sent anything.
func (s *Server) awaitReady(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		select {
		case <-s.done:
			return false, errors.New("it ended")
		default:
			return strings.Contains(s.output.String(), "ready to accept connections"), nil
		}
	})
	if err != nil && strings.Contains(s.output.String(), "Address already in use") {
		return errPortTaken
	}
	if err != nil {
		return fmt.Errorf("start Postgres: %w\n%s", err, s.output)
	}
	if err := s.connect(ctx); err != nil {
		return fmt.Errorf("%w; if %s doesn't hold its password, remove the file to have a new one set", err, passwordPath(s.cfg.DataDir))
	}
	return nil
}

// connect checks that Postgres accepts connections.
func (s *Server) connect(ctx context.Context) error {
	conn, err := pgconn.Connect(ctx, s.URL())
	if err != nil {
		return fmt.Errorf("connect to the private Postgres: %w", err)
	}
	return conn.Close(ctx)
}

// URL is the connection string of the product's database. It contains the password and must not be
// logged.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", url.UserPassword(role, s.password), loopback, s.port, database)
}

// Done is closed when the Postgres has ended. If it is another process's, only Stop closes it.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns nil while the Postgres runs and after an orderly stop, otherwise an error with the
// last lines of its log.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the Postgres by a fast shutdown, which rolls open transactions back, and gives up
// DATA_DIR. When ctx ends first, the Postgres is killed: the next start recovers what was
// committed. Another process's Postgres is left running. Further calls return the same error.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		if s.attached {
			close(s.done)
			return
		}
		_ = s.child.Process.Signal(syscall.SIGINT) // an error means that it has ended
		select {
		case <-s.done:
		case <-ctx.Done():
			s.stopErr = fmt.Errorf("the private Postgres didn't stop in time and was killed: %w", ctx.Err())
			s.kill()
			<-s.done
		}
		s.stopErr = errors.Join(s.stopErr, s.Err(), s.release())
	})
	return s.stopErr
}

// release gives up the data folder and DATA_DIR. The lock file stays: without it, two processes
// could lock two files of the same name.
func (s *Server) release() error {
	_ = s.folder.Close() // it was only read, or is nil
	return errors.Join(s.lock.Truncate(0), s.lock.Close())
}

// command returns a program that works on the data folder, in a process group of its own: a Ctrl-C
// reaches this process only, which stops Postgres last. When ctx ends, the group is killed. When
// the thread that started the program ends, Linux sends the program the signal orphaned.
func (s *Server) command(ctx context.Context, orphaned syscall.Signal, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	folder := s.path
	if s.account != nil && runtime.GOOS == "linux" {
		folder = "/proc/self/fd/3" // the account can't walk to a folder below a home of mode 0700
	}
	// No secrets, and nothing that would redirect Postgres, such as PGPORT.
	cmd.Env = []string{"PGDATA=" + folder, "LC_ALL=C"}
	for _, name := range []string{"PATH", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		cmd.Env = append(cmd.Env, name+"="+os.Getenv(name))
	}
	cmd.Dir = "/"                         // the account may have no access to the current folder
	cmd.ExtraFiles = []*os.File{s.folder} // descriptor 3, with its lock
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.account}
	SetParentDeathSignal(cmd.SysProcAttr, orphaned)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for the output: the children of a dead program may hold the pipe open
	return cmd
}

// run runs a program to its end.
func (s *Server) run(ctx context.Context, stdin, program string, args ...string) error {
	runtime.LockOSThread() // for the parent death signal
	defer runtime.UnlockOSThread()
	cmd := s.command(ctx, syscall.SIGKILL, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, errors.Join(err, ctx.Err()), out)
	}
	return nil
}

// output keeps the last 8 KiB of what a program prints.
type output struct {
	mu  sync.Mutex
	end []byte
}

// Write never fails.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = append(o.end, p...)
	o.end = o.end[max(0, len(o.end)-8<<10):]
	return len(p), nil
}

// String returns the end of the output so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(string(o.end))
}
