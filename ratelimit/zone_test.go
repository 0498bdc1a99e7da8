package ratelimit

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func calendarIn(zone string) Policy {
	return Policy{Name: "month", Algorithm: Calendar, Limit: 10, Period: Month, TimeZone: zone}
}

// TestValidate_TimeZoneNames checks names that time.LoadLocation finds on some
// machines.
func TestValidate_TimeZoneNames(t *testing.T) {
	for _, name := range []string{
		"Local", "local", "localtime", "Factory", "posixrules", "posix/Europe/Berlin", "right/Europe/Berlin", "posix/UTC",
		"Berlin", "europe/berlin", "Europe/", "Europe", "/Europe/Berlin", "../zoneinfo/Europe/Berlin", "Europe/../Europe/Berlin",
		`Europe\Berlin`, "Europe/Berlin\x00", " UTC", "UTC ", "+01:00", "tzdata.zi", "zone.tab", "CEST",
	} {
		var invalid *InvalidError
		if err := Validate([]Policy{calendarIn(name)}); !errors.As(err, &invalid) || invalid.Faults[0].Pointer != "/0/time_zone" {
			t.Errorf("%q: %v, want a fault", name, err)
		}
	}
	for _, name := range []string{"", "UTC", "Europe/Berlin", "US/Eastern", "Etc/GMT-14", "America/Argentina/Buenos_Aires", "EST5EDT", "GB"} {
		if err := Validate([]Policy{calendarIn(name)}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestValidate_TimeZonesOfMachine validates in a process that is offered a zone
// by its environment.
func TestValidate_TimeZonesOfMachine(t *testing.T) {
	const inside = "TEST_TIME_ZONES_OF_MACHINE"
	if os.Getenv(inside) != "" {
		if Validate([]Policy{calendarIn("Mars/Base")}) == nil {
			t.Error("a zone on the disk is accepted")
		}
		c := mustCompile(t, calendarIn("America/New_York"))
		if _, offset := time.Unix(1_700_000_000, 0).In(c.zone).Zone(); offset != -5*3600 {
			t.Errorf("America/New_York is %d s from UTC, as on the disk", offset)
		}
		return
	}
	zones := t.TempDir()
	tokyo, err := readZone("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"Mars", "America"} {
		if err := os.Mkdir(zones+"/"+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Mars/Base", "America/New_York"} {
		if err := os.WriteFile(zones+"/"+name, tokyo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1", "ZONEINFO="+zones)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCompiled_ID_aliases(t *testing.T) {
	for _, names := range [][]string{
		{"", "UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal"},
		{"America/New_York", "US/Eastern", "EST5EDT"},
		{"Europe/London", "GB", "GB-Eire", "Europe/Belfast"},
		{"Asia/Kolkata", "Asia/Calcutta"},
		{"GMT", "Etc/GMT", "Etc/Greenwich", "GMT0", "GMT+0", "Etc/GMT-0"},
		{"Europe/Berlin"},
	} {
		first := mustCompile(t, calendarIn(names[0]))
		for _, name := range names[1:] {
			c := mustCompile(t, calendarIn(name))
			if c.ID() != first.ID() || c.Fingerprint() != first.Fingerprint() {
				t.Errorf("%q and %q have different counters", names[0], name)
			}
			if c.TimeZone != name {
				t.Errorf("TimeZone = %q, want %q as written", c.TimeZone, name)
			}
		}
		if names[0] != "" && first.ID() == mustCompile(t, calendarIn("UTC")).ID() {
			t.Errorf("%q shares a counter with UTC", names[0])
		}
	}
}

// TestZones_linksMatchData checks the link table against the data: linked zones
// are the same, and zones that are the same are linked.
func TestZones_linksMatchData(t *testing.T) {
	table := zones()
	names := map[string]string{} // by data
	for name := range table.files {
		if name == "Factory" {
			t.Error("Factory is a zone")
		}
		data, err := readZone(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		canonical := table.canonical(name)
		if other, known := names[string(data)]; known && other != canonical {
			t.Errorf("%s and %s have the same data and aren't linked", other, canonical)
		}
		names[string(data)] = canonical
		location, got, err := loadZone(name)
		if err != nil || got != canonical || location.String() != canonical {
			t.Errorf("loadZone(%s) = %v, %s, %v, want %s", name, location, got, err, canonical)
		}
	}
	for alias, target := range table.links {
		if table.links[target] != "" || table.files[alias] == nil || table.files[target] == nil {
			t.Errorf("link from %s to %s: both must be zones, and the target no alias", alias, target)
		}
		a, errA := readZone(alias)
		b, errB := readZone(target)
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s and %s have different data", alias, target)
		}
	}
	if len(table.files) < 590 || len(table.links) < 150 || strings.Contains(zoneLinks, "\r") {
		t.Errorf("%d zones and %d links", len(table.files), len(table.links))
	}
}
