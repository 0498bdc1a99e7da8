package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// settings returns valid settings.
func settings() Settings {
	return Settings{HTTPAddr: ":8080", OpsAddr: ":9090", DataDir: ".", CacheKeys: "100000", CacheTTL: "60s", CacheStale: "10m", Queue: "postgres", QueuePrefix: "ratelimiter", RetryBase: "1s", RetryCap: "5m", RetryAttempts: "8", Headers: "draft11", ShutdownDelay: "0s", RedisTimeout: "50ms", LogFormat: "auto", LogLevel: "info"}
}

func TestSettings_secrets_from_files(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	url, pepper := write("url", "postgres://u:p@db/x\n"), write("pepper", " v2:a secret for these tests\r\n")
	empty, missing := write("empty", "\n"), filepath.Join(folder, "missing")
	for name, test := range map[string]struct {
		databaseURL, pepper         string // environment
		databaseURLFile, pepperFile string
		faults                      []string
	}{
		"environment":    {databaseURL: "postgres://u:p@db/x", pepper: "v2:a secret for these tests"},
		"files":          {databaseURLFile: url, pepperFile: pepper},
		"both":           {"postgres://u:p@db/x", "v2:a secret for these tests", url, pepper, []string{"DATABASE_URL: DATABASE_URL_FILE is set too", "KEY_PEPPER: KEY_PEPPER_FILE is set too"}},
		"missing, empty": {databaseURLFile: missing, pepperFile: empty, faults: []string{"DATABASE_URL_FILE: open " + missing, "KEY_PEPPER_FILE: " + empty + " is empty"}},
		"wrong content":  {databaseURLFile: pepper, faults: []string{"DATABASE_URL: must look like"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DATABASE_URL", test.databaseURL)
			t.Setenv("KEY_PEPPER", test.pepper)
			s := settings()
			s.DatabaseFile, s.PepperFile = test.databaseURLFile, test.pepperFile
			cfg, err := s.Config()
			if len(test.faults) == 0 && (err != nil || cfg.DatabaseURL != "postgres://u:p@db/x" || cfg.Peppers == nil) {
				t.Errorf("got %+v, error %v", cfg, err)
			}
			for _, fault := range test.faults {
				if err == nil || !strings.Contains(err.Error(), fault) || strings.Contains(err.Error(), "secret for") {
					t.Errorf("got error %v; want %q", err, fault)
				}
			}
		})
	}
}
