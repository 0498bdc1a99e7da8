package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ratelimiter/models"
)

// The command line rejects what the API rejects.
func TestKeysCreate_spec(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	override := `{"policy":{"name":"minute","algorithm":"fixed_window","limit":5,"period":"1m"}}`
	file := filepath.Join(t.TempDir(), "override.yaml")
	if err := os.WriteFile(file, []byte("policy: {name: hour, algorithm: fixed_window, limit: 0, period: 1h}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		command keysCreateCommand
		says    string // empty: valid
	}{
		{"only a name", keysCreateCommand{Name: "shop"}, ""},
		{"everything", keysCreateCommand{Name: "shop", Plan: "pro", Owner: "o", Scopes: []string{"products:read", " orders:read"}}, ""},
		{"200 characters", keysCreateCommand{Name: strings.Repeat("ü", 200)}, ""},
		{"blank name", keysCreateCommand{Name: " "}, "--name must not be blank"},
		{"long name", keysCreateCommand{Name: strings.Repeat("ü", 201)}, "--name must have at most 200 characters"},
		{"long owner", keysCreateCommand{Name: "x", Owner: strings.Repeat("o", 300)}, "--owner must have at most 100 characters"},
		{"repeated scope", keysCreateCommand{Name: "x", Scopes: []string{"products:read", "products:read"}}, `--scopes "products:read" is repeated`},
		{"unknown scope", keysCreateCommand{Name: "x", Scopes: []string{"all"}}, `--scopes "all" must be one of`},
		{"invalid plan", keysCreateCommand{Name: "x", Plan: "No"}, "--plan must match"},
		{"admin without its scope", keysCreateCommand{Name: "x", Admin: true, Scopes: []string{"products:read"}}, "--admin and --scopes"},
		{"admin with its scope", keysCreateCommand{Name: "x", Admin: true, Scopes: []string{"admin"}}, ""},
		{"period", keysCreateCommand{Name: "x", Expires: "30d"}, ""},
		{"time", keysCreateCommand{Name: "x", Expires: "2037-01-15T09:30:00Z"}, ""},
		{"no time", keysCreateCommand{Name: "x", Expires: "tomorrow"}, "--expires must be a time such as 2026-01-15T09:30:00Z (RFC 3339), or a period such as 30d"},
		{"networks", keysCreateCommand{Name: "x", IPAllow: []string{"203.0.113.0/24", " 2001:db8::1"}}, ""},
		{"no network", keysCreateCommand{Name: "x", IPAllow: []string{"203.0.113.0/24", "me"}}, `--ip-allow "me" must be a network`},
		{"labels", keysCreateCommand{Name: "x", Metadata: map[string]string{"team": "a=b"}}, ""},
		{"empty label", keysCreateCommand{Name: "x", Metadata: map[string]string{"": "a"}}, `--metadata "" `},
		{"overrides", keysCreateCommand{Name: "x", Override: []string{override, `[{"policy":{"name":"all","algorithm":"concurrency","limit":5}}]`}}, ""},
		{"faults of overrides", keysCreateCommand{Name: "x", Override: []string{override, file, override}}, "--override /1/policy/limit must be"},
		{"repeated override", keysCreateCommand{Name: "x", Override: []string{override, override}}, "--override /1/policy/name must be unique"},
		{"no such file", keysCreateCommand{Name: "x", Override: []string{"nowhere.json"}}, "--override: open nowhere.json"},
		{"no JSON", keysCreateCommand{Name: "x", Override: []string{"{"}}, "--override: "},
		{"several faults", keysCreateCommand{Name: "", Owner: " "}, "--name must not be empty\n--owner must not be blank"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec, err := test.command.spec(now)
			switch {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says == "" && (spec.Name != test.command.Name || spec.Plan != test.command.Plan || spec.Owner != test.command.Owner):
				t.Errorf("spec %+v", spec)
			case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
				t.Errorf("error %v; want %q", err, test.says)
			}
		})
	}
	spec, err := (&keysCreateCommand{Name: "x", Scopes: []string{" admin "}, Admin: true}).spec(now)
	if err != nil || len(spec.Scopes) != 1 || spec.Scopes[0] != models.ScopeAdmin || !spec.Admin || spec.Plan != "" {
		t.Errorf("spec %+v, %v", spec, err)
	}
	spec, err = (&keysCreateCommand{Name: "x", Expires: "30d", IPAllow: []string{"203.0.113.7"}, Override: []string{override}}).spec(now)
	if err != nil || !spec.ExpiresAt.Equal(now.AddDate(0, 0, 30)) || spec.IPAllow[0].String() != "203.0.113.7/32" || spec.Overrides[0].Policy.Limit != 5 {
		t.Errorf("spec %+v, %v", spec, err)
	}
}

// The table of keys fits a terminal.
func TestKeyTable(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	got := keyTable([]models.APIKey{
		{ID: "OciwqgV8mKFf", Name: "shop", Plan: "free", CreatedAt: *ago(0)},
		{ID: "PciwqgV8mKFf", Name: strings.Repeat("ü", 200), Plan: strings.Repeat("p", 32), CreatedAt: *ago(364 * 24 * time.Hour), LastUsedAt: ago(90 * time.Second), ExpiresAt: ago(-30*24*time.Hour - time.Minute), SuspendedAt: &now},
	}, now)
	const want = `ID            STATUS     CREATED   USED      EXPIRES   PLAN          NAME
OciwqgV8mKFf  active     0s ago    never     never     free          shop
PciwqgV8mKFf  suspended  364d ago  1m ago    in 30d    ppppppppppp…  üüüüüüüüüü…
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("got a line of %d columns: %s", n, line)
		}
	}
}
