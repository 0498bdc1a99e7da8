package ratelimit

import (
	"archive/zip"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Time zones come from this file only, version 2025c of the tz database, so that
// a policy means the same on every machine.
//
//go:embed tzdata/zoneinfo.zip
var zoneData string

// zoneTable is the names of all time zones.
type zoneTable struct {
	files map[string]*zip.File
	// canonical is the name that all zones with the same data share, by the
	// CRC-32 of the data.
	canonical map[uint32]string
	// loaded is a map from canonical names to *time.Location.
	loaded sync.Map
}

var zones = sync.OnceValue(func() *zoneTable {
	archive, err := zip.NewReader(strings.NewReader(zoneData), int64(len(zoneData)))
	if err != nil {
		panic(err) // embedded
	}
	t := &zoneTable{files: make(map[string]*zip.File, len(archive.File)), canonical: map[uint32]string{}}
	for _, f := range archive.File {
		if f.Name == "Factory" { // the tz database's mark of a machine that has no zone yet
			continue
		}
		t.files[f.Name] = f
		if first, alias := t.canonical[f.CRC32]; !alias || f.Name < first {
			t.canonical[f.CRC32] = f.Name
		}
	}
	t.canonical[t.files["UTC"].CRC32] = "UTC"
	return t
})

// loadZone returns the time zone with an IANA name and its canonical name. ""
// is UTC.
func loadZone(name string) (*time.Location, string, error) {
	t := zones()
	file := t.files[cmp.Or(name, "UTC")]
	if file == nil {
		return nil, "", fmt.Errorf("unknown time zone %q", name)
	}
	canonical := t.canonical[file.CRC32]
	if canonical == "UTC" {
		return time.UTC, canonical, nil
	}
	if zone, ok := t.loaded.Load(canonical); ok {
		return zone.(*time.Location), canonical, nil
	}
	data, err := readZone(file)
	if err != nil {
		return nil, "", err
	}
	zone, err := time.LoadLocationFromTZData(canonical, data)
	if err != nil {
		return nil, "", fmt.Errorf("time zone %s: %w", name, err)
	}
	one, _ := t.loaded.LoadOrStore(canonical, zone)
	return one.(*time.Location), canonical, nil
}

// readZone returns the data of a zone.
func readZone(file *zip.File) ([]byte, error) {
	r, err := file.Open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
