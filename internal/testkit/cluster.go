package testkit

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ratelimiter/internal/devdb"
)

const (
	// ramDisk is Linux's file system in memory.
	ramDisk = "/dev/shm"
	// ramDiskSpace in bytes is what a run may need there: the cluster takes 50 MB, the log up to
	// its max_wal_size, and each database of a running test 8 MB. Containers often have 64 MB in
	// all, which is too little.
	ramDiskSpace = 1 << 30
	// folderPrefix begins the names of the folders of test clusters.
	folderPrefix = "ratelimiter-test-"
	// leftoverAge spares a folder that its cluster hasn't locked yet.
	leftoverAge = time.Minute
	// clusterStop bounds stopping a cluster. After that it is killed: nothing in it is kept.
	clusterStop = 10 * time.Second
)

// cluster is a private Postgres for tests, with settings for speed and not for durability.
type cluster struct {
	server *devdb.Server
	folder string
}

// startCluster starts a cluster, in memory where there is room. The caller must stop it.
func startCluster(ctx context.Context) (*cluster, error) {
	folder, err := clusterFolder()
	if err != nil {
		return nil, err
	}
	server, err := devdb.Start(ctx, devdb.Config{
		DataDir: folder, Log: slog.New(slog.DiscardHandler), CreateDB: true,
		Settings: map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "256MB",
			"autovacuum": "off", // it would delay the copying of databases
			// In the data folder, so that it is removed with it even when the cluster was killed.
			"dynamic_shared_memory_type": "mmap",
			// Packages run in parallel, and so do the tests in each of them.
			"max_connections": "500",
		},
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &cluster{server: server, folder: folder}, nil
}

// stop stops the cluster and removes its data.
func (c *cluster) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterStop)
	defer cancel()
	return errors.Join(c.server.Stop(ctx), os.RemoveAll(c.folder))
}

// clusterFolder creates the folder of a cluster: on the RAM disk if that exists, is writable and has
// room, otherwise among the temporary files.
func clusterFolder() (string, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(ramDisk, &stat); err == nil && stat.Bavail*uint64(stat.Bsize) >= ramDiskSpace {
		removeLeftovers(ramDisk)
		if folder, err := os.MkdirTemp(ramDisk, folderPrefix); err == nil {
			return folder, nil
		}
	}
	removeLeftovers(os.TempDir())
	return os.MkdirTemp("", folderPrefix)
}

// removeLeftovers removes the folders of clusters whose process was killed: they use memory. Their
// Postgres ends with the process.
func removeLeftovers(parent string) {
	locks, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*", "owner.lock"))
	if err != nil {
		return
	}
	for _, lock := range locks {
		if info, err := os.Stat(lock); err != nil || time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		file, err := os.Open(lock)
		if err != nil {
			continue // another user's
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(lock))
		} // otherwise its process is running
		_ = file.Close()
	}
}
