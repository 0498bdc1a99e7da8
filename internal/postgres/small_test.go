package postgres

import (
	"strings"
	"testing"
)

func TestSupportedVersions(t *testing.T) {
	for version, says := range map[string]string{
		"14.0":                             "",
		"15.18 (Debian 15.18-0+deb12u1)":   "",
		"18beta1":                          "",
		"13.14":                            "is Postgres 13.14; this program needs 14 or newer",
		"9.6.24":                           "is Postgres 9.6.24",
		"":                                 "does not report its version",
		"CockroachDB CCL v23 (compatible)": "does not report its version",
	} {
		err := supported(version)
		if (err == nil) != (says == "") || (err != nil && !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", version, err, says)
		}
	}
}

func TestServerLogPassesOnNoQueries(t *testing.T) {
	var lines []string
	l := &serverLog{log: recorder(&lines)}
	for _, piece := range []string{
		"LOG:  starting\nERROR:  duplicate key\nDETAIL:  Key (email)=(a@b.c)", " already exists.\nSTATEMENT:  INSERT\nWARN", "ING:  careful\nFATAL:  no\n",
	} {
		if _, err := l.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(lines, "|"), "DEBUG postgres: starting|WARN postgres: careful|DEBUG postgres: no"; got != want {
		t.Errorf("passed on %s, want %s", got, want)
	}
	if !strings.Contains(l.tail(), "already exists.") {
		t.Error("the end of the output is not kept")
	}
}

func TestServerLogKeepsTheEnd(t *testing.T) {
	var lines []string
	l := &serverLog{log: recorder(&lines)}
	_, _ = l.Write([]byte(strings.Repeat("x\n", captureLimit) + "last"))
	if tail := l.tail(); len(tail) > captureLimit || !strings.HasSuffix(tail, "last") {
		t.Errorf("%d bytes are kept", len(tail))
	}
}

func TestChildEnvironment(t *testing.T) {
	got := childEnvironment([]string{"PATH=/bin", "PGPORT=1", "KEY_PEPPER=secret", "LANG=de_DE.UTF-8", "TMPDIR=/t"})
	if want := "LC_ALL=C PATH=/bin TMPDIR=/t"; strings.Join(got, " ") != want {
		t.Errorf("environment %q, want %q", got, want)
	}
}
