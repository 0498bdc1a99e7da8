package e2e

import (
	"strings"
	"testing"
	"unicode/utf8"

	"ratelimiter/handlers"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func TestDeadLettersCommand(t *testing.T) {
	address := testkit.DatabaseURL(t)
	app, line := newApp(t, onDatabase(address)), commandLine{t: t, database: address}
	app.deadLetters(3, "order.placed", "The gateway answered 503 Service Unavailable, for the eighth time in a row")
	app.deadLetters(2, "order.cancelled", "declined")
	var list listed[models.DeadLetter]
	line.json(&list, "dead-letters", "list", "--group", "payment", "--topic", "order.placed", "--reason", "GATEWAY")
	if len(list.Data) != 3 || !strings.Contains(string(list.Data[0].Payload), "ord_7") || strings.Contains(string(list.Data[0].Payload), "example.com") || len(list.Data[0].History) != 1 {
		t.Errorf("got dead letters %+v", list.Data)
	}
	text, _ := line.run(0, "dead-letters", "list")
	for row := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(row, "\n")); n > 80 {
			t.Errorf("got %d columns in %q", n, row)
		}
	}
	if strings.Count(text, "\n") != 6 || !strings.HasPrefix(text, "ID  DIED") || !strings.Contains(text, "The gateway") {
		t.Errorf("got output\n%s", text)
	}
	for _, args := range []string{"", "--dry-run", "1 --all", "1 --group payment", "--all --topic x", "1 --dry-run"} {
		line.run(2, append([]string{"dead-letters", "redrive"}, strings.Fields(args)...)...)
	}
	if text, _ := line.run(0, "dead-letters", "redrive", "--all", "--dry-run"); text != "Would redrive 5 dead letters.\n" {
		t.Errorf("got output %s", text)
	}
	var result handlers.Redriven
	line.json(&result, "dead-letters", "redrive", "--topic", "order.cancelled")
	if n := app.count(`SELECT count(*) FROM dead_letters`); result.Redriven != 2 || n != 3 {
		t.Errorf("redrove %d, %d are left; want 2 and 3", result.Redriven, n)
	}
	line.run(0, "dead-letters", "redrive", list.Data[0].ID)
	line.run(0, "dead-letters", "discard", list.Data[1].ID)
	for _, command := range []string{"redrive", "discard"} {
		if _, log := line.run(1, "dead-letters", command, list.Data[0].ID); !strings.Contains(log, "not found; see 'ratelimiter dead-letters list'") {
			t.Errorf("got error %s", log)
		}
	}
	if n := app.count(`SELECT count(*) FROM dead_letters`); n != 1 || len(app.audited("?actor=cli")) != 3 {
		t.Errorf("%d dead letters are left, %d changes audited; want 1 and 3", n, len(app.audited("?actor=cli")))
	}
}

// A pause by the command line is in force on a running server.
func TestQueuesCommand(t *testing.T) {
	address := testkit.DatabaseURL(t)
	w, line := newWorkload(t, onDatabase(address)), commandLine{t: t, database: address}
	w.deadLetters(1, "order.placed", "declined") // without it the command line doesn't know the group
	var shown models.QueueGroup
	line.json(&shown, "queues", "pause", "payment")
	w.await("the pause is in force", func() bool {
		paid, sent := w.paid.Load(), w.sent.Load()
		w.publish()
		w.await("the other group goes on", func() bool { return w.sent.Load() > sent })
		return w.paid.Load() == paid && group(w.admin(models.ScopeAdminQueues), "payment").Ready > 0
	})
	text, _ := line.run(0, "queues", "list")
	if !shown.Paused || !strings.HasPrefix(text, "READY  DELAYED") || !strings.Contains(text, "paused  payment\n") {
		t.Errorf("got %+v and output\n%s", shown, text)
	}
	line.run(0, "queues", "resume", "payment")
	w.await("it is paid", func() bool { return w.paid.Load() > 0 })
	if _, log := line.run(1, "queues", "pause", "nobody"); !strings.Contains(log, "not found; see 'ratelimiter queues list'") {
		t.Errorf("got error %s", log)
	}
	if entries := w.audited("?actor=cli"); len(entries) != 2 || entries[1].Action != "queue.pause" {
		t.Errorf("got audit entries %+v", entries)
	}
}

func TestDoctor_queue(t *testing.T) {
	for name, test := range map[string]struct{ sql, want string }{
		"flows":  {`SELECT`, "ok: messages flow"},
		"dead":   {`INSERT INTO dead_letters ("group", topic, message, reason, attempts) VALUES ('payment', 't', '{}', 'r', 1)`, "warning: payment has 1 dead letters."},
		"paused": {`INSERT INTO queue_pauses VALUES ('payment')`, "warning: payment is paused, 0 messages wait."},
		"old":    {`INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at) VALUES ('{}', 'delivery', 'payment', 9, now() - interval '1 h')`, "warning: A message of payment waits for 1h0m"},
		"stuck": {`INSERT INTO river_job (args, kind, queue, max_attempts, state, attempted_at) VALUES ('{}', 'delivery', 'payment', 9, 'running', now() - interval '1 h')`,
			"warning: 1 deliveries take longer than 2m0s"},
		"River": {`DELETE FROM river_migration WHERE version = (SELECT max(version) FROM river_migration)`, "warning: the tables of River"},
	} {
		t.Run(name, func(t *testing.T) {
			address := testkit.DatabaseURL(t)
			execute(t, address, test.sql)
			doctor(t, 0, "DATABASE_URL="+address, "KEY_PEPPER="+testPepper).wants(t, map[string]string{"queue": test.want})
		})
	}
}
