// Command timezones writes the table of links between the names of time zones,
// for the zones of Go's distribution that package ratelimit embeds.
//
//	cp "$(go env GOROOT)/lib/time/zoneinfo.zip" ratelimit/tzdata/
//	go run ./scripts/timezones -links tzdata.zi
//
// tzdata.zi is the compact form of the tz database (https://www.iana.org/time-zones),
// of the version that lib/time/update.bash of the Go distribution names. It is
// also in the Python package tzdata.
package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	zi := flag.String("links", "", "the file tzdata.zi")
	flag.Parse()
	if err := run(*zi); err != nil {
		fmt.Fprintln(os.Stderr, "timezones:", err)
		os.Exit(1)
	}
}

func run(zi string) error {
	database, err := os.ReadFile(zi)
	if err != nil {
		return err
	}
	zones, err := os.ReadFile("ratelimit/tzdata/zoneinfo.zip")
	if err != nil {
		return err
	}
	data, err := readZones(zones)
	if err != nil {
		return fmt.Errorf("zoneinfo.zip: %w", err)
	}
	links := linksOf(string(database), data)
	if len(links) == 0 {
		return errors.New("no links in " + zi)
	}
	var b strings.Builder
	for _, alias := range slices.Sorted(maps.Keys(links)) {
		b.WriteString(alias + " " + links[alias] + "\n")
	}
	return os.WriteFile("ratelimit/tzdata/links.txt", []byte(b.String()), 0o644)
}

// readZones returns the data of each zone in an archive.
func readZones(archive []byte) (map[string]string, error) {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	data := map[string]string{}
	for _, f := range r.File {
		content, err := r.Open(f.Name)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(content)
		if err != nil {
			return nil, err
		}
		data[f.Name] = string(text)
	}
	return data, nil
}

// linksOf returns the canonical name of each alias in a tz database. It leaves
// out links between zones whose data differs: the distribution keeps some zones
// apart that the database has merged because they agree since 1970. The name of
// the default zone is UTC, not Etc/UTC.
func linksOf(database string, data map[string]string) map[string]string {
	const utc, etcUTC = "UTC", "Etc/UTC"
	targets := map[string]string{etcUTC: utc}
	for line := range strings.Lines(database) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "L" && f[2] != utc {
			targets[f[2]] = f[1]
		}
	}
	links := map[string]string{}
	for alias := range targets {
		canonical := alias
		for target, linked := targets[canonical]; linked; target, linked = targets[canonical] {
			canonical = target
		}
		if data[alias] != "" && data[alias] == data[canonical] {
			links[alias] = canonical
		}
	}
	return links
}
