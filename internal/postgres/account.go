package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that Postgres runs as where this process is root, as whom it refuses to run.
// A nil *account is the present user.
type account struct{ uid, gid uint32 }

// chooseAccount picks the user: the present one unless that is root, else the owner of the data
// that is there, else the first of postgres and nobody that exists.
func chooseAccount(dataFolder string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := os.Stat(dataFolder)
	if err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
			return &account{uid: stat.Uid, gid: stat.Gid}, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range []string{"postgres", "nobody"} {
		if found, err := lookup(name); err == nil {
			return found, nil
		}
	}
	return nil, errors.New("a Postgres refuses to run as root, and there is no user postgres or nobody to run it as: " +
		"run this as another user, or set DATABASE_URL")
}

// lookup reads a user's ids.
func lookup(name string) (*account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &account{uid: uint32(uid), gid: uint32(gid)}, nil
}

// credential is what the account means to a new process: its ids and no other group.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own gives an open file or folder to the account.
func (a *account) own(f *os.File) error {
	if a == nil {
		return nil
	}
	return f.Chown(int(a.uid), int(a.gid))
}
