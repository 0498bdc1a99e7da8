package testkit

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ratelimiter/internal/postgres"
)

const (
	// ramDisk is Linux's file system in memory.
	ramDisk = "/dev/shm"
	// ramDiskSpace in bytes is what a run may need there: the cluster takes 50 MB, the log up to
	// its max_wal_size, and each database that a running test has 8 MB. Containers often have
	// 64 MB in all, which is too little.
	ramDiskSpace = 1 << 30
	// folderPrefix is what the folders of test clusters are named by.
	folderPrefix = "ratelimiter-test-"
	// leftoverAge spares a folder whose cluster has not come to lock it yet.
	leftoverAge = time.Minute
	// clusterStop bounds a cluster's end; past it the cluster is killed, as nothing in it lasts.
	clusterStop = 10 * time.Second
)

// cluster is a private Postgres for tests: as fast as it can be, and nothing in it lasts.
type cluster struct {
	server *postgres.Server
	folder string
}

// startCluster starts a cluster, in memory where there is room. The caller must stop it.
func startCluster(ctx context.Context) (*cluster, error) {
	parent := clusterParent()
	removeLeftovers(ctx, parent)
	folder, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, err
	}
	server, err := postgres.Start(ctx, postgres.Config{
		DataDir: folder, Log: slog.New(slog.DiscardHandler), CreateDB: true,
		Settings: map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "256MB",
			"autovacuum": "off", // its visits would hold up the copying of databases
			// In the data folder, so that it is removed with it even when the cluster was killed.
			"dynamic_shared_memory_type": "mmap",
			// Packages run side by side, and tests side by side in each of them.
			"max_connections": "500",
		},
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &cluster{server: server, folder: folder}, nil
}

// stop ends the cluster and removes all that it kept.
func (c *cluster) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterStop)
	defer cancel()
	return errors.Join(c.server.Stop(ctx), os.RemoveAll(c.folder))
}

// clusterParent is the folder for the cluster's own: the RAM disk if it is there, can be written
// and has room, else the one for temporary files.
func clusterParent() string {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(ramDisk, &stat); err != nil || stat.Bavail*uint64(stat.Bsize) < ramDiskSpace {
		return os.TempDir()
	}
	probe, err := os.MkdirTemp(ramDisk, folderPrefix)
	if err != nil {
		return os.TempDir()
	}
	_ = os.Remove(probe)
	return ramDisk
}

// removeLeftovers removes the folders of clusters whose process was killed: they hold memory.
// Their Postgres has ended with its process, or does so now.
func removeLeftovers(ctx context.Context, parent string) {
	folders, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		lock := filepath.Join(folder, "owner.lock")
		if info, err := os.Stat(lock); err != nil || time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		ownership, err := postgres.Own(ctx, folder)
		if err != nil {
			continue // its process lives, or it is another user's
		}
		_ = os.RemoveAll(folder)
		_ = ownership.Release()
	}
}
