package docs

import (
	"context"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/net/webdav"
)

// gzipSuffix ends the name of a compressed file in an assetFS.
const gzipSuffix = ".gz"

// assetFS is the file system from which gin-swagger serves, through webdav: files in memory, compressed and not.
type assetFS struct {
	webdav.FileSystem
	tags map[string]string // entity tag by path
}

// newAssetFS returns an assetFS of files by name.
func newAssetFS(files map[string]*file) *assetFS {
	a := &assetFS{webdav.NewMemFS(), map[string]string{}}
	for name, f := range files {
		a.add("/"+name, f.content(), f.tag())
		a.add("/"+name+gzipSuffix, f.gzipped(), f.tag())
	}
	return a
}

func (a *assetFS) add(name string, content []byte, tag string) {
	file, err := a.FileSystem.OpenFile(context.Background(), name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.Write(content)
	}
	if err != nil {
		panic(err) // memory never fails
	}
	a.tags[name] = tag
}

// OpenFile opens a file whose info has its entity tag.
func (a *assetFS) OpenFile(ctx context.Context, name string, flag int, mode os.FileMode) (webdav.File, error) {
	file, err := a.FileSystem.OpenFile(ctx, name, flag, mode)
	return assetFile{file, a.tags[path.Join("/", name)]}, err
}

// assetFile is an open file.
type assetFile struct {
	webdav.File
	tag string
}

// Stat returns the file info with the entity tag.
func (f assetFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return assetInfo{info, f.tag}, err
}

// assetInfo is the info of a file with the entity tag that webdav sends.
type assetInfo struct {
	fs.FileInfo
	tag string
}

var _ webdav.ETager = assetInfo{}

// ETag returns the entity tag.
func (i assetInfo) ETag(context.Context) (string, error) { return i.tag, nil }

// ModTime returns no time: that of the memory differs between instances.
func (assetInfo) ModTime() time.Time { return time.Time{} }
