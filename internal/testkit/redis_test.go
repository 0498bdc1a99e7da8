package testkit

import "testing"

func TestRedis_killed_and_paused(t *testing.T) {
	for name, s := range map[string]*RedisServer{"redis": Redis(t), "valkey": Valkey(t)} {
		s.Do("SET", "key", "value")
		s.Pause()
		s.Continue()
		if got := s.Do("GET", "key"); got != "value" {
			t.Errorf("%s: after a pause: %q, want value", name, got)
		}
		s.Kill()
		s.Start()
		if got := s.Do("GET", "key"); got != "" {
			t.Errorf("%s: after a restart: %q, want nothing", name, got)
		}
	}
}
