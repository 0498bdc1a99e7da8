package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"ratelimiter/internal/postgres/pgbin"
)

const (
	// portTries is how often another port is tried, when the chosen one was taken between the
	// choice and its use.
	portTries = 5
	// readyPoll is the time between two looks at whether the server is ready.
	readyPoll = 10 * time.Millisecond
)

// invalidPassword is an SQLSTATE.
const invalidPassword = "28P01"

// errPortTaken is a start that another port may mend.
var errPortTaken = errors.New("port taken")

// Start owns DATA_DIR, finds the programs of Postgres (or downloads or installs them), makes the
// data folder when there is none, and runs the server until it takes connections. Errors are for
// the operator to read and name a way out; among them are *OwnedError, another process owns the
// folder, and *pgbin.NotFoundError. The caller must Stop the server.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ownership, err := own(ctx, cfg.DataDir, ownerInfo{PID: os.Getpid(), Brief: cfg.Brief})
	if err != nil {
		return nil, err
	}
	s, err := startOwned(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, ownership.Release())
	}
	s.ownership = ownership
	if err := ownership.serving(s.port); err != nil {
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

// startOwned starts the server in a DATA_DIR that this process owns.
func startOwned(ctx context.Context, cfg Config) (*Server, error) {
	c, err := findCluster(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c.startServer(ctx)
}

// startServer opens the data folder and runs the server on the first port that is really free.
func (c cluster) startServer(ctx context.Context) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	f, password, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	for range portTries {
		var s *Server
		if s, err = c.serve(ctx, f, password); err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, errors.Join(err, f.close())
}

// findCluster looks for the programs that fit the data that is there, and for the account.
func findCluster(ctx context.Context, cfg Config) (cluster, error) {
	major, err := presentMajor(cfg.DataDir)
	if err != nil {
		return cluster{}, err
	}
	account, err := chooseAccount(folderPath(cfg.DataDir, major))
	if err != nil {
		return cluster{}, err
	}
	install, err := cfg.Finder.Find(ctx, pgbin.Want{Major: major, Credential: account.credential(), Log: cfg.Log})
	if err != nil {
		return cluster{}, err
	}
	// Installing a package may have brought the user postgres, who is preferred to nobody.
	if account, err = chooseAccount(folderPath(cfg.DataDir, install.Major)); err != nil {
		return cluster{}, err
	}
	return cluster{cfg: cfg, install: install, account: account, freePort: freePort}, nil
}

// open opens the data folder, made when missing, and reads the password, made when missing.
func (c cluster) open(ctx context.Context) (*folder, string, error) {
	path := folderPath(c.cfg.DataDir, c.install.Major)
	password, passwordErr := readPassword(c.cfg.DataDir)
	if passwordErr != nil && !errors.Is(passwordErr, fs.ErrNotExist) {
		return nil, "", passwordErr
	}
	if passwordErr != nil {
		password = rand.Text()
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := savePassword(c.cfg.DataDir, password); err != nil {
			return nil, "", err
		}
		c.cfg.Log.Info("making a private Postgres", "folder", path, "major", c.install.Major)
		f, err := c.create(ctx, password)
		return f, password, err
	}
	f, err := openFolder(ctx, path, func(pid int) {
		c.cfg.Log.Warn("stopping the Postgres of an earlier server", "pid", pid)
	})
	if err != nil || passwordErr == nil {
		return f, password, err
	}
	if err := c.changePassword(ctx, f, password); err != nil {
		return nil, "", errors.Join(err, f.close())
	}
	return f, password, nil
}

// changePassword sets a new password where the file with the old one was removed: whoever may
// remove it may do that. The file comes second, so that an interruption is mended by the next
// start.
func (c cluster) changePassword(ctx context.Context, f *folder, password string) error {
	err := c.bootstrap(ctx, f, []string{
		fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", superuser, password),
		fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, password),
	})
	if err != nil {
		return err
	}
	return savePassword(c.cfg.DataDir, password)
}

// serve runs the server on a free port and waits until it is ready. It is errPortTaken when
// another program took the port first.
func (c cluster) serve(ctx context.Context, f *folder, password string) (*Server, error) {
	port, err := c.freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{
		url: connectionURL(port, password), port: port, folder: f,
		output: &serverLog{log: c.cfg.Log}, done: make(chan struct{}),
	}
	s.child, err = command{
		program: c.install.Program("postgres"), args: c.serverArguments(f, port), account: c.account,
		output: s.output, files: []*os.File{f.file},
		orphaned: syscall.SIGINT, // a fast shutdown
	}.start()
	if err != nil {
		return nil, err
	}
	go s.watch()
	if err := s.awaitReady(ctx, c.cfg.DataDir); err != nil {
		s.child.signal(syscall.SIGQUIT)
		<-s.done
		return nil, err
	}
	return s, nil
}

// serverArguments are the settings, given on the command line so that a new version of this
// program changes them without touching the data folder.
func (c cluster) serverArguments(f *folder, port int) []string {
	settings := map[string]string{
		"listen_addresses": loopback,
		"port":             strconv.Itoa(port),
		// The data folder, relative to the server's working folder: a socket's path may have
		// about 107 bytes, and DATA_DIR may be longer.
		"unix_socket_directories": ".",
		"log_destination":         "stderr",
		"logging_collector":       "off",
		"log_line_prefix":         "",
		"lc_messages":             "C",
		"timezone":                "UTC",
		"jit":                     "off", // compiling costs more than these short queries
	}
	maps.Copy(settings, c.cfg.Settings)
	args := []string{"-D", folderArgument(f.path, 3, c.dropped())}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// freePort is a loopback port that nobody listened on a moment ago.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", loopback+":0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// awaitReady waits until the server takes connections and accepts the password. It ends with the
// child, too.
//
// That it is ready is read from its own pid file first: where another program took the port,
// whatever answers there is not to be asked, and may even be a Postgres that refuses the password.
func (s *Server) awaitReady(ctx context.Context, dataDir string) error {
	for !s.folder.ready() {
		select {
		case <-s.done:
			return startFault(s.output.tail(), s.Err())
		case <-ctx.Done():
			return fmt.Errorf("the private Postgres was not ready in time: %w\n%s", ctx.Err(), s.output.tail())
		case <-time.After(readyPoll):
		}
	}
	conn, err := pgconn.Connect(ctx, s.url)
	if refusal := new(pgconn.PgError); errors.As(err, &refusal) && refusal.Code == invalidPassword {
		return fmt.Errorf("%s does not hold this Postgres's password: remove the file to have a new one set", passwordPath(dataDir))
	}
	if err != nil {
		return fmt.Errorf("connect to the private Postgres: %w", err)
	}
	return conn.Close(ctx)
}

// startFault says why the server ended before it was ready.
func startFault(output string, err error) error {
	if strings.Contains(output, "Address already in use") {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	if err == nil { // a clean exit that nobody asked for
		return fmt.Errorf("the private Postgres ended before it was ready\n%s", output)
	}
	return fmt.Errorf("start Postgres%s: %w", adviceFor(output), err)
}
