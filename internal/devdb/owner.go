package devdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ownerTimeout bounds how long another owner is waited for: to end, or to start its Postgres.
const ownerTimeout = 2 * time.Minute

// ownerInfo is the content of owner.lock, the file that the owner of a DATA_DIR keeps locked. The
// kernel releases the lock when the owner ends.
type ownerInfo struct {
	PID        int    `json:"pid"`
	ShortLived bool   `json:"brief,omitempty"`
	Port       uint16 `json:"port,omitempty"` // of the owner's Postgres; 0 until it is ready
}

// OwnedError reports that another process owns DataDir.
type OwnedError struct {
	DataDir string
	owner   ownerInfo
}

// Error names the owner and the ways out.
func (e *OwnedError) Error() string {
	return fmt.Sprintf("DATA_DIR %s is in use by the process with pid %d: stop that process, or set another DATA_DIR or a DATABASE_URL",
		e.DataDir, e.owner.PID)
}

// ownOrAttach claims DATA_DIR, which is created if missing. A short command may attach to the
// owner's Postgres instead.
func (s *Server) ownOrAttach(ctx context.Context) (err error) {
	if err = os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return err
	}
	s.lock, err = os.OpenFile(filepath.Join(s.cfg.DataDir, "owner.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	owned := &OwnedError{DataDir: s.cfg.DataDir}
	err = poll(ctx, func() (bool, error) {
		locked, err := tryLock(s.lock)
		if locked {
			err = s.publish(0)
		}
		if locked || err != nil {
			return locked, err
		}
		text, err := os.ReadFile(s.lock.Name())
		owned.owner = ownerInfo{}
		if err != nil || json.Unmarshal(text, &owned.owner) != nil || owned.owner.ShortLived {
			return false, err // it starts or ends
		}
		if !s.shortLived {
			return false, owned
		}
		s.port = owned.owner.Port
		s.password, _ = readPassword(s.cfg.DataDir) // without it, connect fails
		s.attached = s.port > 0 && s.connect(ctx) == nil
		return s.attached, nil
	})
	if err == nil && !s.attached {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = owned
	}
	return errors.Join(err, s.lock.Close())
}

// RunningURL returns the URL of the private Postgres that runs on a DATA_DIR, "" if none accepts
// connections. It starts and changes nothing.
func RunningURL(ctx context.Context, dataDir string) string {
	text, _ := os.ReadFile(filepath.Join(dataDir, "owner.lock"))
	var owner ownerInfo
	_ = json.Unmarshal(text, &owner) // it is empty after an orderly stop
	s := &Server{port: owner.Port}
	s.password, _ = readPassword(dataDir) // without it, connect fails
	if owner.Port == 0 || s.connect(ctx) != nil {
		return ""
	}
	return s.URL()
}

// publish writes owner.lock in place: the lock belongs to the file, not to its name.
func (s *Server) publish(port uint16) error {
	text, err := json.Marshal(ownerInfo{os.Getpid(), s.shortLived, port})
	if err == nil {
		_, err = s.lock.WriteAt(text, 0)
	}
	return errors.Join(err, s.lock.Truncate(int64(len(text))))
}

// tryLock locks an open file or folder. It returns false if another process has it locked.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
