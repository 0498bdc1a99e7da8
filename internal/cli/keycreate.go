package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/config"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// keysCreateCommand creates a key.
type keysCreateCommand struct {
	Name     string            `required:"" placeholder:"TEXT" help:"Name of the key, for operators."`
	Plan     string            `placeholder:"NAME" help:"Default: free; for admin keys internal."`
	Scopes   []string          `placeholder:"SCOPE" help:"Default: products:read,orders:read,orders:write."`
	Owner    string            `placeholder:"TEXT" help:"Owner that it belongs to. Default: a new one."`
	Expires  string            `placeholder:"WHEN" help:"After a period such as 30d, or a time in RFC 3339."`
	IPAllow  []string          `placeholder:"CIDR" help:"Networks that may use it. Default: all."`
	Metadata map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Label, for operators. Can be repeated."`
	Override []string          `sep:"none" placeholder:"JSON" help:"{\\\"policy\\\":{…}}, as in the API, or a file with it."`
	Admin    bool              `help:"Create an operator's key, with the scope admin."`
	JSON     bool              `help:"Print JSON."`
}

// Run creates the key and prints it, the only time that it is shown.
func (k *keysCreateCommand) Run(ctx context.Context, cfg *config.Config, to *console) error {
	spec, err := k.spec(time.Now())
	if err != nil {
		return err
	}
	return withPeppers(ctx, cfg, to, func(ctx context.Context, keys *apikeys.Store) error {
		key, text, err := keys.Create(ctx, spec)
		if faults := k.flagFaults(err); faults != "" {
			return errors.New(faults)
		}
		if err != nil {
			return err
		}
		return printNewKey(to, key, text, k.JSON, fmt.Sprintf("Its id is %s, its plan %s.", key.ID, key.Plan))
	})
}

// spec validates the flags by the rules of the API, as the body of a request for
// a new key.
func (k *keysCreateCommand) spec(now time.Time) (models.NewKey, error) {
	body := map[string]any{"name": k.Name}
	given := func(name string, given bool, value any) {
		if given {
			body[name] = value
		}
	}
	given("plan", k.Plan != "", k.Plan)
	given("owner", k.Owner != "", k.Owner)
	given("expires_at", k.Expires != "", expiry(k.Expires, now))
	given("scopes", len(k.Scopes) > 0, trimmed(k.Scopes))
	given("ip_allow", len(k.IPAllow) > 0, trimmed(k.IPAllow))
	given("metadata", len(k.Metadata) > 0, k.Metadata)
	overrides, err := readOverrides(k.Override)
	if err != nil {
		return models.NewKey{}, err
	}
	given("overrides", len(overrides) > 0, overrides)
	data, err := json.Marshal(body)
	if err != nil {
		return models.NewKey{}, err
	}
	spec, err := handlers.ParseNewKey(data)
	if k.Plan == "" {
		spec.Plan = "" // the default depends on Admin
	}
	spec.Admin = k.Admin
	if faults := k.flagFaults(err); faults != "" {
		err = config.NewError(faults)
	}
	if err == nil && k.Admin && len(spec.Scopes) > 0 && !slices.Contains(spec.Scopes, models.ScopeAdmin) {
		err = config.NewError("--admin and --scopes without admin exclude each other: leave out --admin, or add admin to --scopes")
	}
	return spec, err
}

func trimmed(list []string) []string {
	texts := make([]string, len(list))
	for i, text := range list {
		texts[i] = strings.TrimSpace(text)
	}
	return texts
}

// expiry returns the time after a period from now, and another text as it is.
func expiry(text string, now time.Time) string {
	if d, ok := ratelimit.Period(text).Duration(); ok {
		return now.Add(d).UTC().Format(time.RFC3339Nano)
	}
	return text
}

// readOverrides reads overrides, each an object or a list of them, given as JSON or
// as the path of a file.
func readOverrides(sources []string) ([]json.RawMessage, error) {
	var overrides []json.RawMessage
	for _, source := range sources {
		text, err := []byte(source), error(nil)
		if inline := strings.TrimSpace(source); !strings.HasPrefix(inline, "{") && !strings.HasPrefix(inline, "[") {
			text, err = readInput(source, nil)
		}
		if err == nil {
			text, err = fromYAML(text)
		}
		if err != nil {
			return nil, config.NewError("--override: " + err.Error())
		}
		list := []json.RawMessage{text}
		if text[0] == '[' {
			err = json.Unmarshal(text, &list)
		}
		if err != nil {
			return nil, err
		}
		overrides = append(overrides, list...)
	}
	return overrides, nil
}

// keyFlags are the flags of fields with other names.
var keyFlags = map[string]string{"expires_at": "--expires", "ip_allow": "--ip-allow", "overrides": "--override"}

// flagFaults returns the faults of an error of models.KindInvalid, one a line, with
// the names of flags instead of fields. It returns "" for other errors.
func (k *keysCreateCommand) flagFaults(err error) string {
	invalid, ok := errors.AsType[*models.Error](err)
	if !ok || invalid.Kind != models.KindInvalid {
		return ""
	}
	lines := make([]string, len(invalid.Faults))
	for i, f := range invalid.Faults {
		field := f.Path[0]
		flag, renamed := keyFlags[field]
		if !renamed {
			flag = "--" + field
		}
		lines[i] = flag + k.element(field, f.Path[1:]) + " " + f.Message
		if field == "expires_at" && f.Code == "time" {
			lines[i] += ", or a period such as 30d"
		}
	}
	return strings.Join(lines, "\n")
}

// element names what a path within a field leads to.
func (k *keysCreateCommand) element(field string, path []string) string {
	if len(path) == 0 {
		return ""
	}
	at, err := strconv.Atoi(path[0])
	switch {
	case field == "scopes" && err == nil:
		return fmt.Sprintf(" %q", k.Scopes[at])
	case field == "ip_allow" && err == nil:
		return fmt.Sprintf(" %q", k.IPAllow[at])
	case field == "metadata":
		return fmt.Sprintf(" %q", path[0])
	default:
		return " /" + strings.Join(path, "/")
	}
}

// printNewKey prints a key that was just created to standard output, and for people
// a notice to standard error.
func printNewKey(to *console, key models.APIKey, text string, asJSON bool, notice string) error {
	if asJSON {
		return printJSON(to.out, struct {
			ID  string `json:"id"`
			Key string `json:"key"`
		}{key.ID, text})
	}
	_, err := io.WriteString(to.out, text+"\n")
	if err == nil {
		_, err = fmt.Fprintf(to.notes, "The key is shown only this once. %s\n", notice)
	}
	return err
}
