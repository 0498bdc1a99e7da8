package ratelimit

import (
	"errors"
	"os"
	"os/exec"
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
	dir := t.TempDir()
	tokyo, err := readZone(zones().files["Asia/Tokyo"])
	if err != nil {
		t.Fatal(err)
	}
	for _, area := range []string{"Mars", "America"} {
		if err := os.Mkdir(dir+"/"+area, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Mars/Base", "America/New_York"} {
		if err := os.WriteFile(dir+"/"+name, tokyo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1", "ZONEINFO="+dir)
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

// TestZones_canonicalNames checks that zones have the same canonical name if they
// have the same data, and only then: a CRC-32 could be that of different data.
func TestZones_canonicalNames(t *testing.T) {
	table := zones()
	names, contents := map[string]string{}, map[string]string{} // canonical names by data, and the reverse
	for name, file := range table.files {
		if name == "Factory" {
			t.Error("Factory is a zone")
		}
		data, err := readZone(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		location, canonical, err := loadZone(name)
		if err != nil || table.files[canonical] == nil || location.String() != canonical {
			t.Errorf("loadZone(%s) = %v, %s, %v", name, location, canonical, err)
		}
		if other, known := names[string(data)]; known && other != canonical {
			t.Errorf("%s and %s have the same data", other, canonical)
		}
		if other, known := contents[canonical]; known && other != string(data) {
			t.Errorf("%s is the canonical name of different data, such as that of %s", canonical, name)
		}
		names[string(data)], contents[canonical] = canonical, string(data)
	}
	if len(table.files) < 590 || len(names) > len(table.files)-150 {
		t.Errorf("%d zones with %d canonical names", len(table.files), len(names))
	}
}
