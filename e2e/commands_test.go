package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ratelimiter/handlers"
	"ratelimiter/internal/cli"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// commandLine runs command lines on one database.
type commandLine struct {
	t        *testing.T
	database string
}

// run returns what a command line printed, which has to end with this code.
func (c commandLine) run(code int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	c.t.Setenv("KEY_PEPPER", "a pepper for tests only")
	c.t.Setenv("DATABASE_URL", c.database)
	var out, log bytes.Buffer
	if got := cli.Run(c.t.Context(), args, &out, &log); got != code {
		c.t.Fatalf("%v ended with %d, want %d: %s%s", args, got, code, &out, &log)
	}
	return out.String(), log.String()
}

// json runs a command line with --json and decodes what it printed.
func (c commandLine) json(out any, args ...string) {
	c.t.Helper()
	text, _ := c.run(0, append(args, "--json")...)
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		c.t.Fatalf("%v: %v in %s", args, err, text)
	}
}

// planChanges is what 'plans apply --json' prints.
type planChanges struct {
	DryRun bool `json:"dry_run"`
	Plans  []struct {
		Name        string          `json:"name"`
		Change      string          `json:"change"`
		Description *[2]string      `json:"description"`
		Policies    json.RawMessage `json:"policies"`
	} `json:"plans"`
}

type madeKey struct{ ID, Key string }

type listed[T any] struct{ Data []T }

func TestKeysAreManagedOnTheCommandLine(t *testing.T) {
	address := testkit.DatabaseURL(t)
	line := commandLine{t, address}
	var admin, key, successor madeKey
	line.json(&admin, "keys", "create", "--name", "root", "--admin")
	line.json(&key, "keys", "create", "--name", "shop", "--plan", "pro", "--owner", "o")
	app := newApp(t, onDatabase(address))
	app.As(key.Key).Get("/v1/products").Want(200)

	line.json(&successor, "keys", "rotate", key.ID, "--grace", "2h")
	app.As(successor.Key).Get("/v1/products").Want(200)
	if text, _ := line.run(0, "keys", "rotate", successor.ID); !strings.Contains(text, "is valid until") {
		t.Errorf("printed %s", text)
	}
	var revoked handlers.Key
	line.json(&revoked, "keys", "revoke", key.ID)
	if revoked.Status != models.KeyRevoked || revoked.ID != key.ID {
		t.Errorf("revoked %+v", revoked)
	}
	for args, want := range map[string]int{"": 4, "--owner o": 3, "--status revoked": 1, "--plan internal": 1, "-q SHO": 3, "--owner o --status active": 2} {
		var list listed[handlers.Key]
		line.json(&list, append([]string{"keys", "list"}, strings.Fields(args)...)...)
		if len(list.Data) != want {
			t.Errorf("keys list %s: %d keys; want %d", args, len(list.Data), want)
		}
	}
	if text, _ := line.run(0, "keys", "list", "--status", "revoked"); !strings.Contains(text, key.ID) || strings.Count(text, "\n") != 2 {
		t.Errorf("printed %s", text)
	}
	line.run(0, "keys", "revoke", admin.ID) // who can run this can make another
	line.run(2, "keys", "list", "--status", "dead")
	line.run(2, "keys", "rotate", key.ID, "--grace", "8d")
	if _, log := line.run(1, "keys", "rotate", key.ID); !strings.Contains(log, successor.ID) {
		t.Errorf("the error doesn't tell the way out: %s", log)
	}
	if _, log := line.run(1, "keys", "create", "--name", "x", "--plan", "nowhere"); !strings.Contains(log, `no plan "nowhere"`) {
		t.Errorf("the error says %s", log)
	}
	var told []string
	for _, e := range app.audited("?actor=cli") {
		if e.IP != nil || e.RequestID != nil {
			t.Errorf("entry %+v", e)
		}
		told = append(told, e.Action)
	}
	want := "key.revoke key.revoke key.create key.rotate key.create key.rotate key.create key.create"
	if got := strings.Join(told, " "); got != want {
		t.Errorf("audited %s\n    want %s", got, want)
	}
}

// write puts a file into a new folder and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const plansYAML = `# quotas as code
plans:
  - name: internal
    description: No limits: for operators and the house's own services.
    policies: []
  - name: free
    description: Smaller.
    policies:
      - {name: burst, algorithm: token_bucket, limit: 10, period: 1s, burst: 20}
      - {name: minute, algorithm: sliding_window, limit: 100, period: 1m}
      - {name: parallel, algorithm: concurrency, limit: 8}
  - name: team
    policies:
      - {name: writes, algorithm: fixed_window, limit: 60, period: 1m, group: "orders:write"}
`

func TestPlansAreAppliedFromAFile(t *testing.T) {
	line := commandLine{t, testkit.DatabaseURL(t)}
	file := write(t, "plans.yaml", strings.Replace(plansYAML, "No limits: for operators and the house's own services.", `"No limits: for operators and the house's own services."`, 1))
	const difference = `= plan internal
~ plan free
    ~ description "For trying things out." -> "Smaller."
    - monthly {"name":"monthly","algorithm":"calendar","limit":10000,"period":"month","time_zone":"Europe/Berlin","anchor_day":15}
    ~ minute {"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"}
      -> {"name":"minute","algorithm":"sliding_window","limit":100,"period":"1m"}
    + parallel {"name":"parallel","algorithm":"concurrency","limit":8}
+ plan team
    + writes {"name":"writes","algorithm":"fixed_window","limit":60,"period":"1m","group":"orders:write"}
`
	versions := func() string {
		var list listed[handlers.Plan]
		line.json(&list, "plans", "list")
		var told []string
		for _, plan := range list.Data {
			told = append(told, fmt.Sprint(plan.Name, " ", plan.Version))
		}
		return strings.Join(told, ", ")
	}
	before := versions()
	if text, _ := line.run(0, "plans", "apply", file, "--dry-run"); text != difference+"Nothing was changed. Without --dry-run, 2 of 3 plans would be.\n" {
		t.Errorf("dry run:\n%s", text)
	}
	if got := versions(); got != before {
		t.Errorf("a dry run has changed %s to %s", before, got)
	}
	if text, _ := line.run(0, "plans", "apply", file); text != difference+"Applied: 2 of 3 plans were changed.\n" {
		t.Errorf("applied:\n%s", text)
	}
	if got := versions(); got != "free 2, internal 1, pro 1, team 1" {
		t.Errorf("versions %s", got)
	}
	var again planChanges
	line.json(&again, "plans", "apply", file)
	for _, plan := range again.Plans {
		if plan.Change != "none" {
			t.Errorf("applied again: %+v", plan)
		}
	}
	if text, _ := line.run(0, "plans", "list"); !strings.Contains(text, "burst,minute,parallel") {
		t.Errorf("listed:\n%s", text)
	}
}

func TestAFileOfPlansIsAppliedWholeOrNotAtAll(t *testing.T) {
	line := commandLine{t, testkit.DatabaseURL(t)}
	good := `{"name":"good","policies":[]}`
	for _, test := range []struct{ name, text, says string }{
		{"faults.json", `{"plans":[` + good + `,{"name":"Bad","policies":[{"name":"a","limit":0}],"x":1},` + good + `]}`, "/plans/1/policies/0/limit|/plans/1/policies/0/algorithm|/plans/1/x|/plans/1/name|/plans/2/name"},
		{"group.yml", "plans: [{name: good, policies: [{name: a, algorithm: fixed_window, limit: 1, period: 1m, group: nowhere}]}]", "/plans/0/policies/0/group"},
		{"twice.yaml", "plans: []\nplans: []\n", "already defined"},
		{"documents.yaml", "plans: []\n---\nplans: []\n", "several documents"},
		{"empty.yaml", "", "must not be null"},
		{"none.json", `{"plans":[]}`, "at least 1 item"},
		{"broken.json", `{"plans":[`, "ends too early"},
	} {
		_, log := line.run(1, "plans", "apply", write(t, test.name, test.text))
		for says := range strings.SplitSeq(test.says, "|") {
			if !strings.Contains(log, says) {
				t.Errorf("%s: the error doesn't say %q: %s", test.name, says, log)
			}
		}
	}
	line.run(1, "plans", "apply", filepath.Join(t.TempDir(), "missing.yaml"))
	var list listed[handlers.Plan]
	line.json(&list, "plans", "list")
	if len(list.Data) != 3 {
		t.Errorf("%d plans; want the three that were there", len(list.Data))
	}
}
