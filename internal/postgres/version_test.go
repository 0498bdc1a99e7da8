package postgres

import (
	"strings"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for version, want := range map[string]string{
		"14.0":                             "",
		"15.18 (Debian 15.18-0+deb12u1)":   "",
		"18beta1":                          "",
		"13.14":                            "is Postgres 13.14; this program needs 14 or newer",
		"9.6.24":                           "is Postgres 9.6.24",
		"":                                 "doesn't report its version",
		"CockroachDB CCL v23 (compatible)": "doesn't report its version",
	} {
		err := checkVersion(version)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", version, err, want)
		}
	}
}
