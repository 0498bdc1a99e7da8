package ratelimit

import (
	"archive/zip"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Time zones come from these files only, version 2025c of the tz database, so
// that a policy means the same on every machine. scripts/timezones writes them.
var (
	//go:embed tzdata/zoneinfo.zip
	zoneData string
	//go:embed tzdata/links.txt
	zoneLinks string // lines of an alias and its canonical name
)

// zoneTable is the names of all time zones.
type zoneTable struct {
	files map[string]*zip.File
	links map[string]string // canonical names by alias
	// loaded is a map from canonical names to *time.Location, one each.
	loaded sync.Map
}

var zones = sync.OnceValue(func() *zoneTable {
	archive, err := zip.NewReader(strings.NewReader(zoneData), int64(len(zoneData)))
	if err != nil {
		panic(err) // embedded
	}
	t := &zoneTable{files: make(map[string]*zip.File, len(archive.File)), links: map[string]string{}}
	for _, f := range archive.File {
		if f.Name != "Factory" { // the tz database's mark of a machine that has no zone yet
			t.files[f.Name] = f
		}
	}
	for line := range strings.Lines(zoneLinks) {
		alias, target, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		t.links[alias] = target
	}
	return t
})

// canonical returns the name that all aliases of a zone share.
func (t *zoneTable) canonical(name string) string {
	if target, alias := t.links[name]; alias {
		return target
	}
	return name
}

// loadZone returns the time zone with an IANA name and its canonical name. ""
// is UTC.
func loadZone(name string) (*time.Location, string, error) {
	t := zones()
	canonical := t.canonical(name)
	if name == "" || canonical == "UTC" {
		return time.UTC, "UTC", nil
	}
	if zone, ok := t.loaded.Load(canonical); ok {
		return zone.(*time.Location), canonical, nil
	}
	data, err := readZone(canonical)
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
func readZone(name string) ([]byte, error) {
	file := zones().files[name]
	if file == nil {
		return nil, fmt.Errorf("unknown time zone %q", name)
	}
	r, err := file.Open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
