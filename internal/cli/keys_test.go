package cli

import (
	"strings"
	"testing"

	"ratelimiter/models"
)

// The command line rejects what the API rejects.
func TestKeysCreate_spec(t *testing.T) {
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
		{"several faults", keysCreateCommand{Name: "", Owner: " "}, "--name must not be empty\n--owner must not be blank"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec, err := test.command.spec()
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
	spec, err := (&keysCreateCommand{Name: "x", Scopes: []string{" admin "}, Admin: true}).spec()
	if err != nil || len(spec.Scopes) != 1 || spec.Scopes[0] != models.ScopeAdmin || !spec.Admin || spec.Plan != "" {
		t.Errorf("spec %+v, %v", spec, err)
	}
}
