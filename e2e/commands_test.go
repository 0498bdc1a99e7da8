package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ratelimiter/handlers"
	"ratelimiter/internal/cli"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// commandLine runs commands on one database.
type commandLine struct {
	t        *testing.T
	database string
	pepper   string // empty: testPepper
}

// run runs a command and returns its output. It must exit with code.
func (c commandLine) run(code int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	c.t.Setenv("KEY_PEPPER", cmp.Or(c.pepper, testPepper))
	c.t.Setenv("DATABASE_URL", c.database)
	var out, log bytes.Buffer
	if got := cli.Run(c.t.Context(), args, &out, &log); got != code {
		c.t.Fatalf("%v: got exit code %d; want %d: %s%s", args, got, code, &out, &log)
	}
	return out.String(), log.String()
}

// json runs a command with --json and decodes its output.
func (c commandLine) json(out any, args ...string) {
	c.t.Helper()
	text, _ := c.run(0, append(args, "--json")...)
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		c.t.Fatalf("%v: %v in output %s", args, err, text)
	}
}

// planChanges is the output of 'plans apply --json'.
type planChanges struct {
	DryRun bool `json:"dry_run"`
	Plans  []struct {
		Name        string          `json:"name"`
		Change      string          `json:"change"`
		Description *[2]string      `json:"description"`
		Policies    json.RawMessage `json:"policies"`
	} `json:"plans"`
}

type createdKey struct{ ID, Key string }

type listed[T any] struct{ Data []T }

func TestKeysCommand_in_process(t *testing.T) {
	address := testkit.DatabaseURL(t)
	line := commandLine{t: t, database: address}
	var admin, key, successor createdKey
	line.json(&admin, "keys", "create", "--name", "root", "--admin")
	line.json(&key, "keys", "create", "--name", "shop", "--plan", "pro", "--owner", "o")
	app := newApp(t, onDatabase(address))
	app.As(key.Key).Get("/v1/products").Want(200)

	line.json(&successor, "keys", "rotate", key.ID, "--grace", "2h")
	app.As(successor.Key).Get("/v1/products").Want(200)
	if text, notice := line.run(0, "keys", "rotate", successor.ID); !strings.HasPrefix(text, "rl_live_") || strings.Count(text, "\n") != 1 || !strings.Contains(notice, "is valid until") {
		t.Errorf("got output %s and notice %s; want only the key in the output", text, notice)
	}
	var revoked, suspended handlers.Key
	line.json(&revoked, "keys", "revoke", "--only", key.ID)
	if revoked.Status != models.KeyRevoked || revoked.ID != key.ID {
		t.Errorf("got revoked key %+v", revoked)
	}
	line.json(&suspended, "keys", "suspend", successor.ID)
	if text, _ := line.run(0, "keys", "show", successor.ID); suspended.Status != models.KeySuspended || !strings.Contains(text, "status     suspended\n") {
		t.Errorf("got suspended key %+v, shown as\n%s", suspended, text)
	}
	line.json(&suspended, "keys", "resume", successor.ID)
	if suspended.Status != models.KeyActive {
		t.Errorf("got resumed key %+v", suspended)
	}
	line.run(1, "keys", "resume", key.ID) // revoked
	for args, want := range map[string]int{"": 4, "--owner o": 3, "--status revoked": 1, "--plan internal": 1, "-q SHO": 3, "--owner o --status active": 2} {
		var list listed[handlers.Key]
		line.json(&list, append([]string{"keys", "list"}, strings.Fields(args)...)...)
		if len(list.Data) != want {
			t.Errorf("keys list %s: got %d keys; want %d", args, len(list.Data), want)
		}
	}
	line.run(1, "keys", "show", "none")
	if text, _ := line.run(0, "keys", "list", "--status", "revoked"); !strings.Contains(text, key.ID) || strings.Count(text, "\n") != 2 {
		t.Errorf("got output %s", text)
	}
	line.run(0, "keys", "revoke", "--yes", admin.ID) // the last admin key
	line.run(2, "keys", "list", "--status", "dead")
	line.run(2, "keys", "create", "--name", "x", "--admin", "--scopes", "products:read")
	line.run(2, "keys", "rotate", key.ID, "--grace", "8d")
	if _, log := line.run(1, "keys", "rotate", key.ID); !strings.Contains(log, successor.ID) {
		t.Errorf("got error %s; want it to name the successor", log)
	}
	if _, log := line.run(1, "keys", "create", "--name", "x", "--plan", "nowhere"); !strings.Contains(log, `no plan "nowhere"`) {
		t.Errorf("got error %s; want it to name the plan", log)
	}
	var actions []string
	for _, e := range app.audited("?actor=cli") {
		if e.IP != nil || e.RequestID != nil {
			t.Errorf("got entry %+v; want no IP and request ID", e)
		}
		actions = append(actions, e.Action)
	}
	slices.Sort(actions)
	want := "key.create key.create key.create key.create key.expire key.resume key.revoke key.revoke key.rotate key.rotate key.suspend"
	if got := strings.Join(actions, " "); got != want {
		t.Errorf("got audit %s\n    want %s", got, want)
	}
}

// A key created under a wrong pepper could never be used.
func TestKeysCommand_with_a_wrong_pepper(t *testing.T) {
	address := testkit.DatabaseURL(t)
	commandLine{t: t, database: address}.run(0, "keys", "create", "--name", "first")
	line := commandLine{t, address, "v1:another secret for these tests"}
	if _, log := line.run(1, "keys", "create", "--name", "second"); !strings.Contains(log, "KEY_PEPPER: v1 is not the pepper") {
		t.Errorf("got error %s; want it to name KEY_PEPPER", log)
	}
	line.run(0, "keys", "list") // hashes nothing
}

// Control characters that were stored by an earlier release are shown escaped.
func TestCommands_escape_control_characters(t *testing.T) {
	address := testkit.DatabaseURL(t)
	line := commandLine{t: t, database: address}
	var key createdKey
	line.json(&key, "keys", "create", "--name", "x")
	app := newApp(t, onDatabase(address))
	const stored = "a\u202eb\x1b[31m\u0085\u200b\u061c\u200f\u2028\u2029\ufeff\U000e0041\tc"
	app.exec(`UPDATE api_keys SET name = $1, owner = $1, metadata = jsonb_build_object($1::text, $1::text),
		overrides = jsonb_build_array(jsonb_build_object('policy', '{"name":"a","algorithm":"fixed_window","limit":5,"period":"1m"}'::jsonb, 'reason', $1::text))`, stored)
	app.exec(`UPDATE plans SET description = $1`, stored)
	plans := writeFile(t, "plans.yaml", "plans: [{name: free, policies: []}]")
	for _, args := range []string{
		"keys list", "plans list", "keys list --json", "plans list --json", "plans apply --dry-run " + plans, "plans apply --dry-run --json " + plans,
		"keys show " + key.ID, "keys show --json " + key.ID, "keys suspend " + key.ID, "keys resume " + key.ID, "keys revoke " + key.ID,
	} {
		text, _ := line.run(0, strings.Fields(args)...)
		if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), models.IsControl) || !strings.Contains(text, `a\u202eb\`) {
			t.Errorf("%s: got output %q; want it escaped", args, text)
		}
	}
	var list listed[handlers.Key]
	line.json(&list, "keys", "list")
	if list.Data[0].Name != stored {
		t.Errorf("got name %q; want %q", list.Data[0].Name, stored)
	}
	for _, hidden := range []string{"\t", "\u202e", "\u200b", "\u2028", "\u009b"} {
		if _, log := line.run(2, "keys", "create", "--name", "a"+hidden+"b", "--plan", "p"+hidden); strings.ContainsFunc(strings.ReplaceAll(log, "\n", ""), models.IsControl) {
			t.Errorf("got error %q; want it escaped", log)
		}
	}
}

// writeFile creates a file in a new folder and returns its path.
func writeFile(t *testing.T, name, text string) string {
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

func TestPlansApply(t *testing.T) {
	line := commandLine{t: t, database: testkit.DatabaseURL(t)}
	file := writeFile(t, "plans.yaml", strings.Replace(plansYAML, "No limits: for operators and the house's own services.", `"No limits: for operators and the house's own services."`, 1))
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
		var versions []string
		for _, plan := range list.Data {
			versions = append(versions, fmt.Sprint(plan.Name, " ", plan.Version))
		}
		return strings.Join(versions, ", ")
	}
	before := versions()
	if text, _ := line.run(0, "plans", "apply", file, "--dry-run"); text != difference+"Nothing was changed. Without --dry-run, 2 of 3 plans would be.\n" {
		t.Errorf("dry run: got output\n%s", text)
	}
	if got := versions(); got != before {
		t.Errorf("the dry run changed %s to %s", before, got)
	}
	if text, _ := line.run(0, "plans", "apply", file); text != difference+"Applied: 2 of 3 plans were changed.\n" {
		t.Errorf("apply: got output\n%s", text)
	}
	if got := versions(); got != "free 2, internal 1, pro 1, team 1" {
		t.Errorf("got versions %s", got)
	}
	var again planChanges
	line.json(&again, "plans", "apply", file)
	for _, plan := range again.Plans {
		if plan.Change != "none" {
			t.Errorf("second apply: got %+v; want no change", plan)
		}
	}
	if text, _ := line.run(0, "plans", "list"); !strings.Contains(text, "burst,minute,parallel") {
		t.Errorf("plans list: got\n%s", text)
	}
	if text, _ := line.run(0, "plans", "show", "free"); !strings.Contains(text, "description  Smaller.\n") || !strings.Contains(text, "policy       burst: token_bucket 10 per 1s, burst 20\n") {
		t.Errorf("plans show: got\n%s", text)
	}
	var shown handlers.Plan
	line.json(&shown, "plans", "show", "free")
	if shown.Version != 2 || len(shown.Policies) != 3 {
		t.Errorf("plans show --json: got %+v", shown)
	}
	if _, log := line.run(1, "plans", "show", "nowhere"); !strings.Contains(log, `plan "nowhere": not found`) {
		t.Errorf("plans show: got error %s", log)
	}
}

func TestPlansApply_invalid_file(t *testing.T) {
	line := commandLine{t: t, database: testkit.DatabaseURL(t)}
	good := `{"name":"good","policies":[]}`
	for _, test := range []struct{ name, text, want string }{
		{"faults.json", `{"plans":[` + good + `,{"name":"Bad","policies":[{"name":"a","limit":0}],"x":1},` + good + `]}`, "/plans/1/policies/0/limit|/plans/1/policies/0/algorithm|/plans/1/x|/plans/1/name|/plans/2/name"},
		{"group.yml", "plans: [{name: good, policies: [{name: a, algorithm: fixed_window, limit: 1, period: 1m, group: nowhere}]}]", "/plans/0/policies/0/group"},
		{"twice.yaml", "plans: []\nplans: []\n", "already defined"},
		{"documents.yaml", "plans: []\n---\nplans: []\n", "several documents"},
		{"empty.yaml", "", "is empty"},
		{"none.json", `{"plans":[]}`, "at least 1 item"},
		{"other.json", `{"policies":[]}`, "/plans is required"},
		{"both.json", `{"plans":[` + good + `],"data":[` + good + `]}`, "/data is not allowed with plans"},
		{"broken.json", `{"plans":[`, "ends too early"},
	} {
		_, log := line.run(1, "plans", "apply", writeFile(t, test.name, test.text))
		for want := range strings.SplitSeq(test.want, "|") {
			if !strings.Contains(log, want) {
				t.Errorf("%s: got error %s; want it to contain %q", test.name, log, want)
			}
		}
	}
	line.run(1, "plans", "apply", filepath.Join(t.TempDir(), "missing.yaml"))
	var list listed[handlers.Plan]
	line.json(&list, "plans", "list")
	if len(list.Data) != 3 {
		t.Errorf("got %d plans; want the initial 3", len(list.Data))
	}
}
