package pgbin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debian is an apt on a made-up Debian, where apt-get does what run says.
func debian(t *testing.T, run func(args []string) ([]byte, error)) apt {
	t.Helper()
	return apt{
		root: t.TempDir(), onPath: func(name string) (string, error) { return "/usr/bin/" + name, nil },
		run: func(_ context.Context, _ string, args ...string) ([]byte, error) { return run(args) },
	}
}

// clusterSetting is the file that keeps the package from making a cluster.
func clusterSetting(a apt) string {
	return filepath.Join(a.root, "etc/postgresql-common/createcluster.d/ratelimiter.conf")
}

func TestAptInstallsWithoutACluster(t *testing.T) {
	m := newMachine(t)
	var installed []string
	var a apt
	a = debian(t, func(args []string) ([]byte, error) {
		if !slices.Contains(args, "install") {
			return nil, errors.New("the list can't be renewed") // which is no reason to give up
		}
		if _, err := os.Stat(clusterSetting(a)); err != nil {
			t.Errorf("during the installation: %v", err)
		}
		installed = append(installed, args[len(args)-1])
		m.root = a.root
		m.install("usr/lib/postgresql/15/bin", "15.8")
		return nil, nil
	})
	for _, want := range []Want{{}, {Major: 15}} {
		install, err := a.install(t.Context(), want)
		if err != nil || install.Major != 15 {
			t.Fatalf("install: %v, %v", install, err)
		}
	}
	if want := []string{"postgresql", "postgresql-15"}; !slices.Equal(installed, want) {
		t.Errorf("installed %v, want %v", installed, want)
	}
	if _, err := os.Stat(clusterSetting(a)); err == nil {
		t.Error("the setting is still there")
	}
}

func TestAptFailures(t *testing.T) {
	a := debian(t, func([]string) ([]byte, error) {
		return []byte("Reading package lists...\nE: Unable to locate package postgresql\nbye\n"), errors.New("exit status 100")
	})
	cases := map[string]struct {
		change func(*apt)
		says   string
	}{
		"not Debian":  {func(a *apt) { a.onPath = func(string) (string, error) { return "", errors.New("none") } }, "no apt-get"},
		"not root":    {func(a *apt) { a.euid = 1000 }, "not root"},
		"no package":  {func(*apt) {}, "E: Unable to locate package postgresql"},
		"no programs": {func(a *apt) { a.run = succeed }, "no postgres in the usual install folders"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := a
			c.change(&a)
			_, err := a.install(t.Context(), Want{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if _, err := os.Stat(clusterSetting(a)); err == nil {
				t.Error("the setting is still there")
			}
		})
	}
}

// succeed is an apt-get that does nothing, well.
func succeed(context.Context, string, ...string) ([]byte, error) { return nil, nil }
