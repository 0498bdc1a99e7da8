package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// help returns the help of a command, and that it has.
func help(t *testing.T, command string) string {
	t.Helper()
	var out, log bytes.Buffer
	if code := Run(t.Context(), append(strings.Fields(command), "--help"), &out, &log); code != 0 || log.Len() > 0 {
		t.Fatalf("%s --help: got exit code %d: %s", command, code, &log)
	}
	return out.String()
}

// allCommands returns every command and group of commands, "" for the program.
func allCommands(t *testing.T) (nodes []*kong.Node) {
	t.Helper()
	parser, err := newParser(new(commands))
	if err != nil {
		t.Fatal(err)
	}
	var add func(node *kong.Node)
	add = func(node *kong.Node) {
		nodes = append(nodes, node)
		for _, child := range node.Children {
			add(child)
		}
	}
	add(parser.Model.Node)
	return nodes
}

func TestHelp_fits_a_terminal(t *testing.T) {
	for _, node := range allCommands(t) {
		text := help(t, node.Path())
		if lines := strings.Count(text, "\n"); lines > 24 && node.Name != "serve" {
			t.Errorf("%s: got %d lines of help; want at most 24\n%s", node.Path(), lines, text)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s: got %d columns in %q; want at most 80", node.Path(), n, line)
			}
		}
	}
}

// A command's own flags come first, and then only the settings that it reads.
func TestHelp_settings(t *testing.T) {
	for _, node := range allCommands(t) {
		if len(node.Children) > 0 {
			continue
		}
		text := help(t, node.Path())
		own, settings, _ := strings.Cut(text, "Settings:")
		for _, flag := range node.Flags {
			if !strings.Contains(own, "--"+flag.Name) {
				t.Errorf("%s: want --%s before the settings in\n%s", node.Path(), flag.Name, text)
			}
		}
		database := node.Name == "serve" || node.Name == "migrate" || slices.Contains([]string{"keys", "plans", "dead-letters", "queues"}, node.Parent.Name)
		for setting, want := range map[string]bool{
			"--http-addr": node.Name == "serve", "--cache-ttl": node.Name == "serve", "--trusted-proxies": node.Name == "serve",
			"--database-url-file": database, "--data-dir": database,
			"--key-pepper-file":          node.Name == "serve" || node.Name == "create" || node.Name == "rotate",
			"--database-listen-url-file": node.Name == "serve" || node.Name == "migrate",
		} {
			if got := strings.Contains(settings, setting+"="); got != want || strings.Contains(own, setting+"=") {
				t.Errorf("%s: got %s in the settings: %v; want %v", node.Path(), setting, got, want)
			}
		}
	}
	if text := help(t, "keys create"); !strings.Contains(text, `{"policy":{…}}, as`) {
		t.Errorf("got help\n%s", text)
	}
	if text := help(t, "serve"); !strings.Contains(text, "$HTTP_ADDR") || strings.Index(text, "--dev") > strings.Index(text, "--http-addr") {
		t.Errorf("got help\n%s", text)
	}
}

// Environment variables are named by one rule.
func TestFlags_environment(t *testing.T) {
	for _, node := range allCommands(t) {
		for _, flag := range node.Flags {
			name := strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			if node.Type != kong.ApplicationNode {
				name = "RATELIMITER_" + name
			}
			if flag.Name != "help" && !flag.Hidden && (len(flag.Envs) != 1 || flag.Envs[0] != name) {
				t.Errorf("%s --%s: got environment variables %v; want %s", node.Path(), flag.Name, flag.Envs, name)
			}
			if flag.Hidden && len(flag.Envs) > 0 && flag.Name != "help" {
				t.Errorf("--%s: got environment variables %v; want none", flag.Name, flag.Envs)
			}
		}
	}
}

func TestRun_usage_errors(t *testing.T) {
	for args, want := range map[string]string{
		"kees list":            "unknown command \"kees\": did you mean \"keys\"?\nSee 'ratelimiter --help'.",
		"serv":                 "unknown command \"serv\": did you mean \"serve\"?\nSee 'ratelimiter --help'.",
		"nonsense":             "unknown command \"nonsense\"\nSee 'ratelimiter --help'.",
		"--data-dir x plan":    "unknown command \"plan\": did you mean \"plans\"?\nSee 'ratelimiter --help'.",
		"keys creat --name x":  "unknown command \"creat\": did you mean \"create\"?\nSee 'ratelimiter keys --help'.",
		"keys":                 "a command is missing: ratelimiter keys create|list|show|rotate|suspend|resume|revoke\nSee 'ratelimiter keys --help'.",
		"keys create":          "missing flags: --name=TEXT\nSee 'ratelimiter keys create --help'.",
		"keys show":            "expected \"<id>\"\nSee 'ratelimiter keys show --help'.",
		"keys show a b":        "unexpected argument b\nSee 'ratelimiter keys show --help'.",
		"serve --no-such-flag": "unknown flag --no-such-flag\nSee 'ratelimiter serve --help'.",
		"--no-such-flag":       "unknown flag --no-such-flag\nSee 'ratelimiter --help'.",
	} {
		var out, log bytes.Buffer
		if code := Run(t.Context(), strings.Fields(args), &out, &log); code != exitUsage || log.String() != "ratelimiter: "+want+"\n" || out.Len() > 0 {
			t.Errorf("%s: got exit code %d, output %s and error\n%swant %s", args, code, &out, &log, want)
		}
	}
}

// Commands that read no settings ignore invalid ones.
func TestRun_invalid_settings(t *testing.T) {
	t.Setenv("HTTP_ADDR", "nonsense")
	for _, command := range []string{"version", "openapi", "completion bash"} {
		if code := Run(t.Context(), strings.Fields(command), new(bytes.Buffer), t.Output()); code != 0 {
			t.Errorf("%s: got exit code %d", command, code)
		}
	}
	if code := Run(t.Context(), []string{"keys", "list"}, new(bytes.Buffer), t.Output()); code != exitUsage {
		t.Errorf("keys list: got exit code %d", code)
	}
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"ratelimiter ":                     "completion dead-letters doctor keys migrate openapi plans queues serve version",
		"ratelimiter ke":                   "keys",
		"ratelimiter keys re":              "resume revoke",
		"ratelimiter keys revoke --on":     "--only",
		"ratelimiter keys list --status s": "suspended",
	} {
		t.Setenv("COMP_LINE", line)
		var out bytes.Buffer
		code := Run(t.Context(), nil, &out, t.Output())
		got := strings.Fields(out.String())
		slices.Sort(got)
		if code != 0 || strings.Join(got, " ") != want {
			t.Errorf("%q: got exit code %d and %v; want %s", line, code, got, want)
		}
	}
	t.Setenv("COMP_LINE", "")
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "bashcompinit", "fish": "complete -f -c ratelimiter"} {
		var out bytes.Buffer
		if code := Run(t.Context(), []string{"completion", "--code", shell}, &out, t.Output()); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: got exit code %d and %s; want %s", shell, code, &out, want)
		}
	}
}
