package postgres

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

const (
	// briefWait is how long a start waits for a short command that owns the folder.
	briefWait = 30 * time.Second
	// lockPoll is the time between two tries at a lock. flock can wait by itself, but then
	// neither a context nor a deadline ends it.
	lockPoll = 20 * time.Millisecond
)

// Ownership is this process's sole claim to a DATA_DIR: a lock on its file owner.lock, which the
// kernel lets go of when the process ends, however it ends.
type Ownership struct {
	file *os.File
	info ownerInfo
}

// ownerInfo is what owner.lock tells others.
type ownerInfo struct {
	PID   int  `json:"pid"`
	Brief bool `json:"brief,omitempty"`
	// Port of the owner's Postgres, 0 until it is ready.
	Port int `json:"port,omitempty"`
}

// OwnedError refuses a DATA_DIR that another process owns.
type OwnedError struct {
	DataDir string
	PID     int // the owner; 0 when it has not said yet

	brief bool
	port  int
}

// Error names the owner and the ways out.
func (e *OwnedError) Error() string {
	owner := "another process"
	if e.PID != 0 {
		owner = fmt.Sprintf("the process with pid %d", e.PID)
	}
	return fmt.Sprintf("DATA_DIR %s is in use by %s: stop that one first, or give this one another DATA_DIR or a DATABASE_URL",
		e.DataDir, owner)
}

// Own claims a DATA_DIR, made when missing. Start does so by itself; a process that calls both
// refuses itself. The error is an *OwnedError when another process owns the folder.
func Own(ctx context.Context, dataDir string) (*Ownership, error) {
	return own(ctx, dataDir, ownerInfo{PID: os.Getpid()})
}

// own claims a DATA_DIR under the given description, and waits for a brief owner to end.
func own(ctx context.Context, dataDir string, info ownerInfo) (*Ownership, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make DATA_DIR: %w%s", err, adviceFor(err.Error()))
	}
	path := filepath.Join(dataDir, "owner.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the owner's lock: %w%s", err, adviceFor(err.Error()))
	}
	ctx, cancel := context.WithTimeout(ctx, briefWait)
	defer cancel()
	for {
		err := tryLock(file)
		if err == nil {
			o := &Ownership{file: file, info: info}
			if err := o.publish(); err != nil {
				return nil, errors.Join(err, o.Release())
			}
			return o, nil
		}
		refused := readOwner(dataDir)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("lock %s: %w", path, err)
		} else if err = refused; refused.brief && pause(ctx, lockPoll) == nil {
			continue
		}
		return nil, errors.Join(err, file.Close())
	}
}

// readOwner reads who owns the folder. What the owner has not written yet is left zero.
func readOwner(dataDir string) *OwnedError {
	var info ownerInfo
	if text, err := os.ReadFile(filepath.Join(dataDir, "owner.lock")); err == nil {
		_ = json.Unmarshal(text, &info)
	}
	return &OwnedError{DataDir: dataDir, PID: info.PID, brief: info.Brief, port: info.Port}
}

// publish writes what others may know into the lock file, in place: a renamed file would take the
// lock's meaning with it.
func (o *Ownership) publish() error {
	text, err := json.Marshal(o.info)
	if err != nil {
		return err
	}
	if err := o.file.Truncate(0); err != nil {
		return fmt.Errorf("write the owner's lock: %w%s", err, adviceFor(err.Error()))
	}
	if _, err := o.file.WriteAt(append(text, '\n'), 0); err != nil {
		return fmt.Errorf("write the owner's lock: %w%s", err, adviceFor(err.Error()))
	}
	return nil
}

// serving tells others on which port the owner's Postgres answers.
func (o *Ownership) serving(port int) error {
	o.info.Port = port
	return o.publish()
}

// Release gives the folder up. The lock file stays: removing it would let two processes lock two
// files of the same name.
func (o *Ownership) Release() error {
	return errors.Join(o.file.Truncate(0), o.file.Close())
}

// tryLock takes the lock on an open file or folder; the error is EWOULDBLOCK when it is taken.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
