package devdb

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// RunningURL returns the URL of the private Postgres that a server runs on a DATA_DIR, "" if none
// runs. It starts and changes nothing.
func RunningURL(ctx context.Context, dataDir string) (string, error) {
	s := &Server{cfg: Config{DataDir: dataDir}}
	lock, err := os.Open(filepath.Join(dataDir, "owner.lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if free, err := tryLock(lock); free || err != nil {
		return "", err
	}
	text, err := os.ReadFile(lock.Name())
	var owner ownerInfo
	if err != nil || json.Unmarshal(text, &owner) != nil || owner.Port == 0 {
		return "", err // it starts or ends
	}
	if s.password, err = readPassword(dataDir); err != nil {
		return "", err
	}
	s.port = owner.Port
	return s.URL(), s.connect(ctx)
}
