package pgbin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// The download's deadlines: on a machine without the network, the next way is tried soon.
const (
	connectTimeout  = 10 * time.Second
	answerTimeout   = 20 * time.Second
	downloadTimeout = 5 * time.Minute
	// downloadLimit in bytes: a build has 12 to 25 MB.
	downloadLimit = 128 << 20
)

// unpacked is the name of the folder that an archive is unpacked to, before it has its final one.
const unpacked = "unpacked"

// build is a published build of Postgres: the one of embedded-postgres-binaries, which holds just
// the server, initdb and pg_ctl, and runs from any folder.
type build struct {
	repository string // a Maven repository
	cache      string // the folder that keeps what was downloaded, readable by all
	platform   string
	version    string
	major      int
	// sum is the SHA-256 of the platform's archive in hexadecimal: it is pinned here, as one that
	// lies beside the archive would change with it.
	sum string
}

// buildSums are the checksums of version 18.3.0, for every platform that it was published for.
var buildSums = map[string]string{
	"linux-amd64":        "1974c3a59c3ae010e9818e81637e425aad94eaac26e4ef533b42e081fe7ca345",
	"linux-arm64v8":      "1fb555a6602c13a113ab1f0cc9224d599948e85e51ac5f001393605505eaf78e",
	"linux-amd64-alpine": "510fd314da39f1eeccef774a92428474168fedf55403342548e2adeaed66b483",
	"darwin-amd64":       "cb68c57232945f5e74db946e6077d70cec56bfed35959b21acc750cc80ca0977",
	"darwin-arm64v8":     "a18ec9ec6a905e04f5a08a8f7870bddadd635feb54dee332a3daf80fada3cb1a",
}

// fetchBuild returns the cached build, or downloads it.
func fetchBuild(ctx context.Context, want Want) (Install, error) {
	cache, err := cacheFolder()
	if err != nil {
		return Install{}, err
	}
	platform := platformName(runtime.GOOS, runtime.GOARCH)
	return build{
		repository: "https://repo1.maven.org/maven2", cache: cache,
		platform: platform, version: "18.3.0", major: 18, sum: buildSums[platform],
	}.get(ctx, want)
}

// cacheFolder is where downloads are kept. Root's own cache can't be reached by the user that it
// drops to.
func cacheFolder() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/ratelimiter", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "ratelimiter"), err
}

// platformName is what the builds are named by.
func platformName(goos, arch string) string {
	if arch == "arm64" {
		arch = "arm64v8"
	}
	name := goos + "-" + arch
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		name += "-alpine"
	}
	return name
}

// get returns the build from the cache, or downloads it into the cache. What lies there under its
// final name is whole, so that processes may do this at once.
func (b build) get(ctx context.Context, want Want) (Install, error) {
	if !want.accepts(b.major) {
		return Install{}, fmt.Errorf("the build on offer is of Postgres %d", b.major)
	}
	if b.sum == "" {
		return Install{}, fmt.Errorf("there is no build for %s", b.platform)
	}
	final := filepath.Join(b.cache, fmt.Sprintf("postgres-%s-%s", b.version, b.platform))
	if install, err := inspect(ctx, filepath.Join(final, "bin"), want); err == nil {
		return install, nil
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return Install{}, err
	}
	temporary, err := os.MkdirTemp(b.cache, "unfinished-")
	if err != nil {
		return Install{}, err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	if want.Log != nil {
		want.Log.LogAttrs(ctx, slog.LevelInfo, "downloading Postgres", slog.String("url", b.url()))
	}
	if err := b.download(ctx, temporary); err != nil {
		return Install{}, err
	}
	if err := os.Rename(filepath.Join(temporary, unpacked), final); err != nil {
		// Another process was faster, or what lay there was refused above.
		if install, err := inspect(ctx, filepath.Join(final, "bin"), want); err == nil {
			return install, nil
		}
		if err := os.Rename(final, filepath.Join(temporary, "refused")); err != nil {
			return Install{}, err
		}
		if err := os.Rename(filepath.Join(temporary, unpacked), final); err != nil {
			return Install{}, err
		}
	}
	return inspect(ctx, filepath.Join(final, "bin"), want)
}

// url is the archive's address.
func (b build) url() string {
	artifact := "embedded-postgres-binaries-" + b.platform
	return fmt.Sprintf("%s/io/zonky/test/postgres/%s/%s/%s-%[3]s.jar", b.repository, artifact, b.version, artifact)
}

// download fetches the archive, checks it, and unpacks it below the folder.
func (b build) download(ctx context.Context, folder string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	archive, err := os.Create(filepath.Join(folder, "archive.jar"))
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	sum, err := fetch(ctx, b.url(), archive)
	if err != nil {
		return fmt.Errorf("download %s: %w", b.url(), err)
	}
	if sum != b.sum {
		return fmt.Errorf("download %s: its SHA-256 is %s, not %s", b.url(), sum, b.sum)
	}
	target := filepath.Join(folder, unpacked)
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	if err := unpack(archive, target); err != nil {
		return fmt.Errorf("unpack %s: %w", b.url(), err)
	}
	return nil
}

// fetch writes what the address holds and returns its SHA-256.
func fetch(ctx context.Context, address string, to io.Writer) (sum string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ForceAttemptHTTP2:     true,
	}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		err = wrapped.Err // the caller names the address
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s", response.Status)
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(response.Body, downloadLimit+1))
	if err != nil {
		return "", err
	}
	if n > downloadLimit {
		return "", fmt.Errorf("it has more than %d bytes", downloadLimit)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
