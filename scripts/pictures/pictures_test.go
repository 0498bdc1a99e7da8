package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ratelimiter/ratelimit"
)

const guide = "../../docs/guide/algorithms.md"

func readGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The guide shows each picture, with the counts in its text and in its table.
func TestGuide_pictures(t *testing.T) {
	text := readGuide(t)
	for _, s := range scenarios {
		tr, err := s.play()
		if err != nil {
			t.Fatal(err)
		}
		admitted, _ := tr.counts()
		counts := []any{s.policy.Algorithm, admitted["burst"], admitted["steady"], admitted["over the limit"], admitted["two bursts"]}
		if row := fmt.Sprintf("| [`%[1]s`](#%[1]s) | %d | %d | %d | %d |", counts...); !strings.Contains(text, row) {
			t.Errorf("the guide has no row %q", row)
		}
		image := fmt.Sprintf("![%s admits %d of 30 in a burst, %d of 30 steady, %d of 80 over the limit, %d of 100 in two bursts](pictures/%[1]s.svg)", counts...)
		if !strings.Contains(text, image) {
			t.Errorf("the guide has no %s", image)
		}
	}
	if want := "sends 30 at once, 30 evenly in a minute, 80 evenly in a minute, nothing for a while, and 50 at once six seconds before and six seconds after a minute's end"; !strings.Contains(strings.ReplaceAll(text, "\n", " "), want) {
		t.Errorf("the guide doesn't describe the pattern: %s", want)
	}
}

func TestDraw(t *testing.T) {
	for _, s := range scenarios {
		tr, err := s.play()
		if err != nil {
			t.Fatal(err)
		}
		picture := draw(&s, tr)
		var svg struct {
			Title string `xml:"title"`
			Desc  string `xml:"desc"`
		}
		if err := xml.Unmarshal(picture, &svg); err != nil {
			t.Fatalf("%s: %v", s.policy.Algorithm, err)
		}
		if svg.Title == "" || !strings.Contains(svg.Desc, " of 100 (two bursts)") {
			t.Errorf("%s: got title %q and description %q", s.policy.Algorithm, svg.Title, svg.Desc)
		}
		if !strings.Contains(string(picture), "prefers-color-scheme: dark") || len(picture) > 6_000 {
			t.Errorf("%s: got %d bytes; want a dark scheme and at most 6,000", s.policy.Algorithm, len(picture))
		}
		admitted, refused := columns(tr)
		sum := 0
		for i := range admitted {
			sum += admitted[i] + refused[i]
		}
		if sum != 240 || len(tr.requests) != 240 {
			t.Errorf("%s: got %d of %d requests in the picture; want all 240", s.policy.Algorithm, sum, len(tr.requests))
		}
	}
}

// Every algorithm of the engine has a picture: the fault of an unknown one lists
// them all.
func TestScenarios_complete(t *testing.T) {
	err := ratelimit.Validate([]ratelimit.Policy{{Name: "x", Algorithm: "none", Limit: 1, Period: "1s"}})
	if err == nil {
		t.Fatal("an unknown algorithm is valid")
	}
	known := regexp.MustCompile(`[a-z]+_[a-z]+|calendar|concurrency`).FindAllString(err.Error(), -1)
	var drawn []string
	for _, s := range scenarios {
		drawn = append(drawn, string(s.policy.Algorithm))
	}
	slices.Sort(known)
	slices.Sort(drawn)
	if !slices.Equal(known, drawn) {
		t.Errorf("got pictures of %v; want %v (%v)", drawn, known, err)
	}
}

func TestRun(t *testing.T) {
	if err := run("../../docs", true); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := run(dir, true); err == nil {
		t.Error("missing pictures are up to date")
	}
	if err := run(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err != nil {
		t.Error(err)
	}
	name := filepath.Join(dir, "guide/pictures/calendar.svg")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err == nil || !strings.Contains(err.Error(), "calendar.svg is out of date") {
		t.Errorf("got error %v; want one about calendar.svg", err)
	}
}
