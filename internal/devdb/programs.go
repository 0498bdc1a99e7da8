package devdb

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/xi2/xz"

	"ratelimiter/internal/postgres"
)

// usualFolders are patterns of the folders that packages install the programs to.
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", // Debian and Ubuntu; RPMs of the Postgres project
	"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin", // Homebrew on Apple silicon; on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",          // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/[0-9]*/bin", // Postgres.app
	"/usr/libexec/postgresql*", "/usr/lib/postgresql*/bin",    // Alpine; openSUSE
	"/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin", // built from source; FreeBSD, containers; Fedora, Arch
}

// finder finds an installation or gets one. Tests replace what it sees of the machine.
type finder struct {
	console
	major   int                 // the only usable major version; 0 means any supported one
	account *syscall.Credential // who must be able to run the programs; nil means the current user
	wanted  string              // "Postgres 15"
	other   string              // how to do without an installation
	apt     string              // the package of Debian and Ubuntu
	root    string              // precedes the system's folders; "" on a real machine

	repository, cache, platform, sum string // of the build to download
}

// newFinder returns a finder for data of a major version, 0 for none.
func newFinder(c console, major int) finder {
	f := finder{
		console: c, major: major, wanted: fmt.Sprintf("Postgres %d or newer", postgres.MinMajor),
		other: "set DATABASE_URL to a running server", apt: "postgresql",
		repository: "https://repo1.maven.org/maven2", cache: "/var/cache/ratelimiter",
		platform: strings.Replace(runtime.GOOS+"-"+runtime.GOARCH, "arm64", "arm64v8", 1),
	}
	if major > 0 {
		f.wanted, f.apt = fmt.Sprintf("Postgres %d", major), fmt.Sprintf("postgresql-%d", major)
		f.other = "set DATA_DIR to another folder to start empty: this one holds data of " + f.wanted
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		f.platform += "-alpine"
	}
	if os.Geteuid() != 0 { // the user that root drops to can't read root's own cache
		dir, _ := os.UserCacheDir()
		f.cache = dir + "/ratelimiter"
	}
	f.sum = buildSums[f.platform]
	return f
}

// find returns the first usable installation of: PG_BINDIR, pg_config, the usual folders (the
// highest major version), a cached or downloaded build, the distribution's package. An unusable
// PG_BINDIR is an error. If nothing is usable, the error names every way to get an installation.
func (f finder) find(ctx context.Context) (best string, major int, err error) {
	if dir := os.Getenv("PG_BINDIR"); dir != "" {
		if major, err = f.inspect(ctx, dir); err != nil {
			err = fmt.Errorf("PG_BINDIR: %w; set it to a folder with postgres and initdb of %s, or unset it", err, f.wanted)
		}
		return dir, major, err
	}
	var faults []error
	for _, way := range []func(context.Context) ([]string, error){pgConfig, f.installed, f.download, f.aptInstall} {
		dirs, err := way(ctx)
		faults = append(faults, err)
		for _, dir := range dirs {
			found, err := f.inspect(ctx, dir)
			if faults = append(faults, err); found > major {
				best, major = dir, found
			}
		}
		if major > 0 {
			return best, major, nil
		}
	}
	return "", 0, fmt.Errorf(`no %s found to run; any one of these helps:
- %s
- set PG_BINDIR to a folder with postgres and initdb, or have pg_config name one
- install it: "apt-get install %s", "dnf install postgresql-server", "brew install postgresql", "apk add postgresql"
- allow the download from %s
- on Debian or Ubuntu, run this as root once, which installs it
What was tried:
%w`, f.wanted, f.other, f.apt, f.repository, errors.Join(faults...))
}

// inspect returns the major version of the programs in dir if they are usable.
func (f finder) inspect(ctx context.Context, dir string) (major int, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version") //nolint:gosec // PG_BINDIR is meant to name programs
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: f.account}
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s/postgres --version, as the user that Postgres runs as: %w", dir, err)
	}
	_, err = fmt.Sscanf(string(out), "postgres (PostgreSQL) %d", &major)
	if err != nil || major < postgres.MinMajor || f.major > 0 && major != f.major {
		return 0, fmt.Errorf("%s has %s, not %s", dir, bytes.TrimSpace(out), f.wanted)
	}
	return major, nil
}

// pgConfig asks the pg_config on the PATH. Debian has one without a server.
func pgConfig(ctx context.Context) ([]string, error) {
	dir, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output()
	return strings.FieldsFunc(string(dir), func(r rune) bool { return r == '\n' }), err
}

// installed returns the usual folders and those of the PATH that have a postgres.
func (f finder) installed(context.Context) (dirs []string, _ error) {
	for _, pattern := range append(usualFolders, filepath.SplitList(os.Getenv("PATH"))...) {
		programs, _ := filepath.Glob(f.root + pattern + "/postgres") // no folder has an invalid name
		for _, program := range programs {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	return dirs, nil
}

const (
	downloadTimeout = 5 * time.Minute // of 12 to 25 MB, or of apt-get's packages
	// The build of the embedded-postgres-binaries project that is downloaded: the server, initdb
	// and pg_ctl, which run from any folder.
	buildVersion, buildMajor = "18.3.0", 18
)

// buildSums are the SHA-256 sums of the archives by platform.
var buildSums = map[string]string{
	"linux-amd64":        "1974c3a59c3ae010e9818e81637e425aad94eaac26e4ef533b42e081fe7ca345",
	"linux-arm64v8":      "1fb555a6602c13a113ab1f0cc9224d599948e85e51ac5f001393605505eaf78e",
	"linux-amd64-alpine": "510fd314da39f1eeccef774a92428474168fedf55403342548e2adeaed66b483",
	"darwin-amd64":       "cb68c57232945f5e74db946e6077d70cec56bfed35959b21acc750cc80ca0977",
	"darwin-arm64v8":     "a18ec9ec6a905e04f5a08a8f7870bddadd635feb54dee332a3daf80fada3cb1a",
}

// download returns the folder of the cached build, downloaded if it is missing.
func (f finder) download(ctx context.Context) ([]string, error) {
	if f.sum == "" || f.major > 0 && f.major != buildMajor {
		return nil, fmt.Errorf("there is no download of %s for %s", f.wanted, f.platform)
	}
	folder := filepath.Join(f.cache, "postgres-"+buildVersion+"-"+f.platform)
	if _, err := os.Stat(folder); err == nil {
		return []string{folder + "/bin"}, nil
	}
	artifact := "embedded-postgres-binaries-" + f.platform
	url := fmt.Sprintf("%s/io/zonky/test/postgres/%s/%s/%s-%[3]s.jar", f.repository, artifact, buildVersion, artifact)
	archive, err := f.fetch(ctx, url)
	if sum := fmt.Sprintf("%x", sha256.Sum256(archive)); err == nil && sum != f.sum {
		err = fmt.Errorf("its SHA-256 is %s, not %s", sum, f.sum)
	}
	if err == nil {
		step := f.begin("unpacking Postgres "+buildVersion, "5 to 20 s", "folder", folder)
		err = unpack(ctx, archive, folder)
		step.end(err)
	}
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", url, err)
	}
	return []string{folder + "/bin"}, nil
}

// fetch downloads the archive of the build.
func (f finder) fetch(ctx context.Context, url string) (archive []byte, err error) {
	step := f.begin("downloading Postgres "+buildVersion, "5 to 60 s", "url", url)
	defer func() { step.end(err) }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // no other request follows
	response, err := (&http.Client{Timeout: downloadTimeout}).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	step.total.Store(response.ContentLength)
	return io.ReadAll(io.TeeReader(response.Body, step))
}

// unpack writes the build in an archive, a zip with one .txz in it, to folder. It works in a
// temporary folder: a folder of the final name is complete.
func unpack(ctx context.Context, archive []byte, folder string) error {
	files, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return err
	}
	names, err := fs.Glob(files, "*.txz")
	if err != nil || len(names) != 1 {
		return fmt.Errorf("it has %d .txz files", len(names))
	}
	compressed, err := files.Open(names[0])
	if err != nil {
		return err
	}
	content, err := xz.NewReader(compressed, 0)
	if err != nil {
		return err
	}
	temporary := folder + unfinished + rand.Text()
	if err := os.MkdirAll(temporary, 0o755); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	tar := exec.CommandContext(ctx, "tar", "-xo", "-C", temporary)
	tar.Stdin = content
	if out, err := tar.CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	if err := os.Rename(temporary, folder); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil // another process was faster
}

// aptInstall installs the package of Debian or Ubuntu, as root.
func (f finder) aptInstall(ctx context.Context) ([]string, error) {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return nil, errors.New("there is no apt-get, or this process isn't root")
	}
	// Without this setting, the package creates a cluster and starts it on port 5432.
	setting := f.root + "/etc/postgresql-common/createcluster.d/ratelimiter.conf"
	_ = os.MkdirAll(filepath.Dir(setting), 0o755) // WriteFile reports the fault
	if err := os.WriteFile(setting, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(setting) }()
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	// Old package lists may be good enough.
	cmd := exec.CommandContext(ctx, "sh", "-c",
		"apt-get -qq update; exec apt-get -qqy --no-install-recommends -o DPkg::Lock::Timeout=60 install "+f.apt)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C ends ctx, which stops apt-get in order
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second // a killed apt-get leaves half-installed packages
	step := f.begin("installing "+f.apt+" with apt-get", "20 s to 2 min")
	out, err := cmd.CombinedOutput()
	if step.end(err); err != nil {
		return nil, fmt.Errorf("apt-get install %s: %w\n%s", f.apt, err, out)
	}
	return f.installed(ctx)
}
