package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
)

// The code blocks of the README and the guide are tested by their first line:
//
//	```console          commands after "$ ", run in order by bash, and their output
//	```json Order       JSON values, valid by this schema of the API description
//	```yaml plans.yaml  a file that the commands of the page use
//	```sh not-run       not tested; see maxNotRun
//
// In output, … matches any text within a line, and as a line any lines. Times, ids and keys match
// all others. JSON is one line, which the page breaks: further ones begin with a space.

// maxNotRun is the number of code blocks that no test runs: they need other
// programs, root, a browser, or a production setup.
const maxNotRun = 5

// variable lists the parts of the output that differ between runs.
var variable = []struct{ pattern, with string }{
	{`(?m)^(X-Request-Id|Date|Content-Length|ETag|Retry-After): .*$`, "$1: *"},
	{`;t=\d+`, ";t=*"},
	{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "*"},
	{`"(id|subject|actor)":"[0-9A-Za-z]{12}"`, `"$1":"*"`},
	{`"(retry_after|reset_after)":\d+(\.\d+)?`, `"$1":*`},
	{`Retry in \d+ s`, "Retry in * s"},
	{`rl_(live|admin)_[0-9A-Za-z_…]*`, "rl_$1_*"},
	{`(req|ord)_[0-9A-Za-z…]+`, "${1}_*"},
	{`cursor(=|":")[^"&>]+`, "cursor$1*"},
	{`tkt_[0-9A-Z…]+`, "tkt_*"},
}

// normalize replaces the variable parts of an output.
func normalize(s string) string {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\r", ""))
	for _, v := range variable {
		s = regexp.MustCompile(v.pattern).ReplaceAllString(s, v.with)
	}
	return s
}

// brokenJSON matches JSON on several lines.
var brokenJSON = regexp.MustCompile(`(?m)^\{.*(\n .*)+`)

// matches reports whether an output is as a page shows it.
func matches(got, want string) bool {
	want = brokenJSON.ReplaceAllStringFunc(want, func(s string) string { return strings.ReplaceAll(s, "\n ", "") })
	pattern := regexp.QuoteMeta(normalize(want))
	pattern = regexp.MustCompile(`(?m)^…$`).ReplaceAllString(pattern, "(?s:.*?)")
	return regexp.MustCompile(`^` + strings.ReplaceAll(pattern, "…", ".*?") + `$`).MatchString(normalize(got))
}

// block is a fenced code block. info is what follows its language.
type block struct{ language, info, text string }

func blocksOf(t *testing.T, page string) (list []block) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(data), -1) {
		language, info, _ := strings.Cut(m[1], " ")
		list = append(list, block{language, info, m[2]})
	}
	return list
}

// step is a command of a transcript and its output.
type step struct{ command, output string }

// steps returns the steps of a console block. A command continues on the next
// line if it ends with a backslash.
func (b block) steps() (list []step) {
	for _, part := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		end := regexp.MustCompile(`[^\\](\n|$)`).FindStringIndex(part)[0] + 1
		list = append(list, step{part[:end], part[end:]})
	}
	return list
}

// shell runs the commands of a page, in a folder of its own.
type shell struct {
	*testing.T
	dir string
	env []string
	// addresses replaces the addresses in the commands by the server's.
	addresses *strings.Replacer
}

// newShell starts a server for a page.
func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	dir := t.TempDir()
	env = append(env, "DATA_DIR="+filepath.Join(dir, ".data"))
	server := serveProcess(t, env...)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "bin", "ratelimiter")); err != nil {
		t.Fatal(err)
	}
	addresses := strings.NewReplacer("localhost:8080", strings.TrimPrefix(server.Base(), "http://"), "localhost:9090", opsAddress(t, server))
	return &shell{t, dir, env, addresses}
}

// opsAddress returns the ops address of a server that is ready, from its log.
func opsAddress(t *testing.T, server *process) string {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ops := regexp.MustCompile(`"ops":"([^"]*)"`).FindStringSubmatch(server.stderr.String()); ops != nil {
			return ops[1]
		}
	}
	t.Fatalf("got no ops address in\n%s", server.stderr)
	return ""
}

// assignment matches the name of a variable that a command sets.
var assignment = regexp.MustCompile(`^([A-Z]+)=`)

// run runs a command with the variables that earlier ones set and returns its
// standard output.
func (s *shell) run(command string) string {
	s.Helper()
	script := "touch state; . ./state\n" + s.addresses.Replace(command)
	if name := assignment.FindStringSubmatch(command); name != nil {
		script += "\ndeclare -p " + name[1] + " >> state"
	}
	bash := exec.CommandContext(s.Context(), "bash", "-c", script)
	bash.Dir, bash.Env = s.dir, append(os.Environ(), s.env...)
	output, err := bash.Output()
	failed, exited := errors.AsType[*exec.ExitError](err)
	if exited && len(failed.Stderr) > 0 {
		s.Logf("$ %s\n%s", command, failed.Stderr)
	} else if err != nil && !exited {
		s.Fatal(err)
	}
	return string(output)
}

// check runs a step. A plain read is repeated for a while if its output differs:
// usage is written in the background.
func (s *shell) check(st step) {
	s.Helper()
	read := strings.HasPrefix(st.command, "curl -s ") && !regexp.MustCompile(` (-X|-d|--json) `).MatchString(st.command)
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		got := s.run(st.command)
		if matches(got, st.output) {
			return
		}
		if !read || time.Now().After(deadline) {
			s.Fatalf("$ %s\ngot\n%s\nwant\n%s", st.command, normalize(got), normalize(st.output))
		}
	}
}

// runPage runs the transcript of a page and returns the number of its steps.
func runPage(t *testing.T, page string, env ...string) (steps int) {
	t.Helper()
	var s *shell
	for _, b := range blocksOf(t, page) {
		if s == nil && (b.language == "console" || strings.Contains(b.info, ".")) {
			s = newShell(t, env...)
		}
		if strings.Contains(b.info, ".") {
			if err := os.WriteFile(filepath.Join(s.dir, b.info), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if b.language == "console" {
			for _, st := range b.steps() {
				steps++
				s.check(st)
			}
		}
	}
	return steps
}

// guidePages returns the pages of the guide.
func guidePages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../docs/guide/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("got pages %v, error %v", pages, err)
	}
	return pages
}

func TestGuide_transcripts(t *testing.T) {
	t.Parallel()
	for _, page := range guidePages(t) {
		if !slices.ContainsFunc(blocksOf(t, page), func(b block) bool { return b.language == "console" }) {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Logf("%d steps", runPage(t, page, "DATABASE_URL="+testkit.DatabaseURL(t)))
		})
	}
}

// Every code block is tested or marked.
func TestGuide_code_blocks(t *testing.T) {
	schemas := newExampleWalk(t)
	console, values, notRun := 0, 0, 0
	for _, page := range append(guidePages(t), "../README.md") {
		for _, b := range blocksOf(t, page) {
			switch {
			case b.language == "console":
				console++
			case b.info == "not-run":
				notRun++
			case strings.Contains(b.info, "."): // a file
			case b.language == "json" && b.info != "":
				values += checkValues(t, schemas, page, b)
			default:
				t.Errorf("%s: this block is neither tested nor marked not-run: %q\n%s", page, b.language+" "+b.info, b.text)
			}
		}
	}
	t.Logf("%d console blocks, %d JSON values, %d blocks not run", console, values, notRun)
	if console < 10 || values < 5 || notRun > maxNotRun {
		t.Errorf("got %d console blocks, %d JSON values, %d blocks not run; want at least 10, at least 5, at most %d", console, values, notRun, maxNotRun)
	}
}

// checkValues validates the JSON values of a block by its schema, policies by the engine too.
func checkValues(t *testing.T, schemas *exampleWalk, page string, b block) (n int) {
	t.Helper()
	for decoder := json.NewDecoder(strings.NewReader(b.text)); ; n++ {
		var value any
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatalf("%s: %v in\n%s", page, err, b.text)
		}
		schemas.check(value, "/components/schemas/"+b.info)
		if data, err := json.Marshal([]any{value}); err != nil {
			t.Fatal(err)
		} else if _, err := ratelimit.ParsePolicies(data); b.info == "Policy" && err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
}
