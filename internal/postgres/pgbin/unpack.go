package pgbin

import (
	"archive/tar"
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/xi2/xz"
)

// unpackLimit in bytes bounds what comes out of an archive; a build unpacks to about 100 MB.
const unpackLimit = 1 << 30

// unpack writes the build in a downloaded archive to the folder: the archive is a zip with one
// .txz in it. Nothing is written outside of the folder, whatever the names in the archive.
func unpack(archive *os.File, folder string) error {
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	files, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, file := range files.File {
		if !strings.HasSuffix(file.Name, ".txz") {
			continue
		}
		inner, err := file.Open()
		if err != nil {
			return err
		}
		return errors.Join(untar(inner, root), inner.Close())
	}
	return errors.New("it holds no .txz file")
}

// untar writes an xz-compressed tar's folders, files and links below the root.
func untar(compressed io.Reader, root *os.Root) error {
	plain, err := xz.NewReader(compressed, 0)
	if err != nil {
		return err
	}
	entries := tar.NewReader(io.LimitReader(plain, unpackLimit))
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = writeEntry(header, entries, root)
		}
		if err != nil {
			return err
		}
	}
}

// writeEntry writes one entry of the tar.
func writeEntry(header *tar.Header, content io.Reader, root *os.Root) error {
	name := path.Clean(header.Name)
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeReg:
		file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, header.FileInfo().Mode().Perm()|0o444)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	default:
		return fmt.Errorf("%s is of the unexpected type %q", name, header.Typeflag)
	}
}
