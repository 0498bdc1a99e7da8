package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// readCommands change nothing.
var readCommands = []string{"keys list", "keys show x", "plans list", "plans show free", "plans apply --dry-run "}

// writeCommands may change something.
var writeCommands = []string{"migrate", "keys create --name x", "keys rotate x", "keys revoke x", "keys suspend x", "keys resume x", "plans apply "}

// withPlanFile returns the words of a command, with a file of plans where one is missing.
func withPlanFile(t *testing.T, command string) []string {
	if strings.HasPrefix(command, "plans apply") {
		command += writeFile(t, "plans.yaml", "plans: [{name: free, policies: []}]")
	}
	return strings.Fields(command)
}

// Commands that change nothing migrate nothing.
func TestCommands_read_only(t *testing.T) {
	address := emptyDatabase(t)
	line := commandLine{t: t, database: address}
	for _, command := range readCommands {
		if _, log := line.run(1, withPlanFile(t, command)...); !strings.Contains(log, "older than this program: run 'ratelimiter migrate'") || strings.Count(log, "\n") != 1 {
			t.Errorf("%s: got error %s", command, log)
		}
	}
	execute(t, address, `DO $$ BEGIN IF EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public') THEN RAISE 'migrated'; END IF; END $$`)
	line.run(0, "migrate")
	line.database = address + "&default_transaction_read_only=on" // as a standby is
	for _, command := range readCommands[:4] {
		code := 0
		if command == "keys show x" {
			code = 1 // there is none
		}
		line.run(code, withPlanFile(t, command)...)
	}
	dir := t.TempDir()
	for _, command := range readCommands {
		code, _, stderr := runProgram(t, []string{"DATA_DIR=" + dir}, withPlanFile(t, command)...)
		if code != 1 || !strings.Contains(stderr, "there is no private Postgres in "+dir+" yet") {
			t.Errorf("%s: got exit code %d: %s", command, code, stderr)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 0 {
		t.Errorf("got %v; want no files", files)
	}
}

// silentServer accepts connections and never answers.
func silentServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func TestCommands_unreachable_database(t *testing.T) {
	silent := silentServer(t)
	for address, want := range map[string]string{
		"postgres://u:hunter2@127.0.0.1:1/x":                      "DATABASE_URL: 127.0.0.1:1: connection refused",
		"postgres://u:hunter2@" + silent + "/x?connect_timeout=1": "DATABASE_URL: " + silent + ": no answer in time",
		"postgres://u:hunter2@nowhere.invalid/x":                  "DATABASE_URL: nowhere.invalid:5432: ",
	} {
		line := commandLine{t: t, database: address}
		for _, command := range append(readCommands, writeCommands...) {
			if strings.Contains(address, silent) && command != "keys list" { // each takes a second
				continue
			}
			if _, log := line.run(1, withPlanFile(t, command)...); !strings.HasPrefix(log, "ratelimiter: "+want) || strings.Count(log, "\n") != 1 || strings.Contains(log, "hunter2") {
				t.Errorf("%s: got error\n%swant one line with %s", command, log, want)
			}
		}
	}
	wrong := strings.Replace(testkit.DatabaseURL(t), "ratelimiter:", "ratelimiter:hunter2", 1)
	if _, log := (commandLine{t: t, database: wrong}).run(1, "keys", "list"); !strings.Contains(log, ": FATAL: password authentication failed") || strings.Contains(log, "hunter2") {
		t.Errorf("got error %s", log)
	}
	env := []string{"HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "KEY_PEPPER=" + testPepper}
	for _, test := range []struct{ setting, want string }{
		{"DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/x", "ratelimiter: DATABASE_URL: 127.0.0.1:1: connection refused\n"},
		{"DATABASE_URL=" + testkit.DatabaseURL(t) + "\x00DATABASE_LISTEN_URL=postgres://u:hunter2@127.0.0.1:1/x", "ratelimiter: DATABASE_LISTEN_URL: 127.0.0.1:1: connection refused\n"},
	} {
		code, _, stderr := runProgram(t, append(strings.Split(test.setting, "\x00"), env...), "serve")
		if code != 1 || !strings.HasSuffix("\n"+stderr, "\n"+test.want) || strings.Contains(stderr, "hunter2") {
			t.Errorf("serve: got exit code %d and error\n%swant its last line to be %s", code, stderr, test.want)
		}
	}
}

// The output of 'plans list' can be applied again, from standard input.
func TestPlansApply_list(t *testing.T) {
	address := testkit.DatabaseURL(t)
	env := []string{"DATABASE_URL=" + address, "DATA_DIR=" + t.TempDir()}
	_, list, _ := runProgram(t, env, "plans", "list", "--json")
	apply := func(input, want string) {
		t.Helper()
		cmd := command(t, env, "plans", "apply", "-")
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("got %v: %s; want %s", err, out, want)
		}
	}
	apply(list, "= plan free\n= plan internal\n= plan pro\nNo differences.\n")
	changed := strings.Replace(list, `"limit":300`, `"limit":301`, 1)
	apply(changed, `-> {"name":"minute","algorithm":"sliding_window","limit":301,"period":"1m"}`)
	apply("plans: [{name: team, policies: []}]", "+ plan team")
	if code, _, stderr := runProgram(t, env, "plans", "apply", "-"); code != 1 || !strings.Contains(stderr, "-: is empty") {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
}

func TestKeysCreate_all_fields(t *testing.T) {
	line := commandLine{t: t, database: testkit.DatabaseURL(t)}
	text, notice := line.run(0, "keys", "create", "--name", "shop", "--plan", "pro", "--owner", "house", "--expires", "30d", "--ip-allow", "203.0.113.0/24,::1",
		"--metadata", "team=checkout", "--metadata", "note=a;b=c", "--override", `{"policy":{"name":"minute","algorithm":"fixed_window","limit":5,"period":"1m"},"reason":"a, b"}`)
	if !strings.HasPrefix(text, "rl_live_") || strings.Count(text, "\n") != 1 || !strings.Contains(notice, "only this once") {
		t.Fatalf("got output %s and notice %s", text, notice)
	}
	id := strings.Split(text, "_")[2]
	var key handlers.KeyWithQuota
	line.json(&key, "keys", "show", id)
	if key.Plan != "pro" || key.Owner != "house" || time.Until(*key.ExpiresAt).Round(time.Hour) != 30*24*time.Hour || fmt.Sprint(key.IPAllow) != "[203.0.113.0/24 ::1/128]" ||
		fmt.Sprint(key.Metadata) != "map[note:a;b=c team:checkout]" || len(key.Overrides) != 1 || key.Overrides[0].Reason != "a, b" || len(key.Quota) != 3 {
		t.Errorf("got key %+v", key)
	}
	for _, p := range key.Quota {
		if (p.Origin == models.OriginOverride) != (p.Name == "minute") || p.Name == "minute" && p.Limit != 5 {
			t.Errorf("got policy %+v of the quota", p)
		}
	}
	shown, _ := line.run(0, "keys", "show", id)
	for _, want := range []string{"addresses  203.0.113.0/24 ::1/128", "policy     minute: fixed_window 5 per 1m (override)", "policy     burst: token_bucket 100 per 1s, burst 200 (plan)", "override   minute: fixed_window 5 per 1m, for good a, b", "label      team=checkout"} {
		if !strings.Contains(shown, want+"\n") {
			t.Errorf("keys show: got\n%swant %s", shown, want)
		}
	}
	if list, _ := line.run(0, "keys", "list"); !strings.Contains(list, id+"  active     ") || !strings.Contains(list, "never     in 29d    pro   shop\n") {
		t.Errorf("keys list: got\n%s", list)
	}
	for _, test := range []struct {
		code       int
		flag, want string
	}{
		{2, "--expires=soon", "--expires must be a time"},
		{1, "--expires=2001-01-01T00:00:00Z", "--expires must be in the future"},
		{2, "--ip-allow=10.0.0.1/8", `--ip-allow "10.0.0.1/8" has address bits`},
		{2, `--override={"policy":{"name":"a"}}`, "--override /0/policy/limit"},
		{2, "--metadata=x", "--metadata"},
		{1, "--plan=nowhere", "--plan there is no plan"},
	} {
		if _, log := line.run(test.code, "keys", "create", "--name", "x", test.flag); !strings.Contains(log, test.want) {
			t.Errorf("%s: got error %s; want %s", test.flag, log, test.want)
		}
	}
}

// terminal returns both ends of a pseudoterminal.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return user, program
}

// The last admin key is ended only by --yes or after a confirmation.
func TestKeysCommand_last_admin_key(t *testing.T) {
	line := commandLine{t: t, database: testkit.DatabaseURL(t)}
	var first, last createdKey
	line.json(&first, "keys", "create", "--name", "first", "--admin")
	line.json(&last, "keys", "create", "--name", "last", "--admin", "--ip-allow", "203.0.113.7")
	line.run(0, "keys", "suspend", first.ID) // there is another one
	status := func(want string) {
		t.Helper()
		var key handlers.KeyWithQuota
		line.json(&key, "keys", "show", last.ID)
		if string(key.Status) != want {
			t.Errorf("the key is %s; want %s", key.Status, want)
		}
	}
	for _, action := range []string{"revoke", "suspend"} {
		if _, log := line.run(1, "keys", action, last.ID); !strings.Contains(log, "This is the last admin key") || !strings.Contains(log, "--yes") || strings.Contains(log, "address") {
			t.Errorf("%s: got error %s", action, log)
		}
	}
	status("active")
	answer := func(text string) (code int, output string) {
		user, program := terminal(t)
		if _, err := user.WriteString(text + "\n"); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, []string{"DATABASE_URL=" + line.database, "DATA_DIR=" + t.TempDir()}, "keys", "suspend", last.ID)
		cmd.Stdin = program
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	for _, no := range []string{"", "n", "maybe"} {
		if code, output := answer(no); code != 1 || !strings.Contains(output, "End it anyway? [y/N] ") || !strings.Contains(output, "nothing was changed") {
			t.Errorf("answer %q: got exit code %d: %s", no, code, output)
		}
	}
	status("active")
	if code, output := answer("y"); code != 0 || !strings.Contains(output, "Suspended "+last.ID) {
		t.Errorf("got exit code %d: %s", code, output)
	}
	status("suspended")
	line.run(0, "keys", "resume", last.ID)
	line.run(0, "keys", "revoke", last.ID, "--yes")
	status("revoked")
}
