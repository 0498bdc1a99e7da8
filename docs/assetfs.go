package docs

import (
	"context"
	"io/fs"
	"net/http"
	"os"

	"golang.org/x/net/webdav"
)

// assetFS is a read-only webdav.FileSystem over an fs.FS: gin-swagger reads its files through webdav.
type assetFS struct {
	files http.FileSystem
	tags  map[string]string // entity tag by file name; embedded files have no modification times
}

var _ webdav.FileSystem = (*assetFS)(nil)

// newAssetFS returns an adapter for the files at the top of fsys.
func newAssetFS(fsys fs.FS) *assetFS {
	tags := map[string]string{}
	names, err := fs.Glob(fsys, "*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			continue // a folder
		}
		tags[name] = etag(content)
	}
	return &assetFS{files: http.FS(fsys), tags: tags}
}

// OpenFile opens a file for reading. Other modes return fs.ErrPermission.
func (a *assetFS) OpenFile(_ context.Context, name string, flag int, _ os.FileMode) (webdav.File, error) {
	if flag != os.O_RDONLY {
		return nil, fs.ErrPermission
	}
	file, err := a.files.Open(name)
	if err != nil {
		return nil, err
	}
	return assetFile{File: file, tags: a.tags}, nil
}

// Stat implements webdav.FileSystem.
func (a *assetFS) Stat(ctx context.Context, name string) (os.FileInfo, error) {
	file, err := a.OpenFile(ctx, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Stat()
}

// Mkdir returns fs.ErrPermission.
func (a *assetFS) Mkdir(context.Context, string, os.FileMode) error { return fs.ErrPermission }

// RemoveAll returns fs.ErrPermission.
func (a *assetFS) RemoveAll(context.Context, string) error { return fs.ErrPermission }

// Rename returns fs.ErrPermission.
func (a *assetFS) Rename(context.Context, string, string) error { return fs.ErrPermission }

// assetFile is an open file. It is read-only.
type assetFile struct {
	http.File
	tags map[string]string
}

// Write returns fs.ErrPermission.
func (assetFile) Write([]byte) (int, error) { return 0, fs.ErrPermission }

// Stat returns the file info with the entity tag.
func (f assetFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return taggedInfo{FileInfo: info, tag: f.tags[info.Name()]}, nil
}

// taggedInfo adds the entity tag that webdav sends.
type taggedInfo struct {
	fs.FileInfo
	tag string
}

var _ webdav.ETager = taggedInfo{}

// ETag returns the tag, or webdav.ErrNotImplemented so that webdav generates one.
func (i taggedInfo) ETag(context.Context) (string, error) {
	if i.tag == "" {
		return "", webdav.ErrNotImplemented
	}
	return i.tag, nil
}
