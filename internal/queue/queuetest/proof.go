package queuetest

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

var (
	proofMessages = flag.Int("proof-messages", 800, "messages of the proof")
	proofKills    = flag.Int("proof-kills", 3, "SIGKILLs of publishers, of workers and of Postgres")
	proofPoison   = flag.Int("proof-poison", 2, "times that a message kills its process, up to 8; it begins as if it had failed before")
)

// count returns the number that a query selects.
func (p *proof) count(query string, args ...any) (n int) {
	p.Helper()
	if err := p.db.QueryRow(context.WithoutCancel(p.Context()), query, args...).Scan(&n); err != nil {
		p.Fatal(err)
	}
	return n
}

const (
	openJobs = `SELECT count(*) FROM river_job WHERE state <> 'completed'`
	// lostMessages are those without effect, job or dead letter, when nothing runs and
	// no broker has any.
	lostMessages = `SELECT count(*) FROM proof_changes c WHERE NOT EXISTS (SELECT FROM proof_effects e WHERE e.message = c.message)
		AND NOT EXISTS (SELECT FROM river_job j WHERE j.args ->> 'id' = c.message AND j.queue = 'ledger' AND j.state <> 'completed')
		AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.message ->> 'id' = c.message AND d."group" = 'ledger')`
	repeatedEffects = `SELECT count(*) FROM (SELECT FROM proof_effects GROUP BY message HAVING count(*) > 1) x`
	phantomEffects  = `SELECT count(*) FROM proof_effects WHERE message NOT IN (SELECT message FROM proof_changes)`
	lostHistory     = `SELECT count(*) FROM proof_effects WHERE failures < attempt - 1`
)

// faults returns what is wrong, when nothing runs.
func (p *proof) faults() (list []string) {
	for name, query := range map[string]string{
		"lost": lostMessages, "repeated": repeatedEffects, "without a change": phantomEffects, "without history": lostHistory,
	} {
		if n := p.count(query); n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, name))
		}
	}
	acknowledged := slices.Collect(maps.Keys(p.acknowledged))
	if n := p.count(`SELECT count(*) FROM unnest($1::text[]) AS n WHERE 'msg_' || n NOT IN (SELECT message FROM proof_changes)`, acknowledged); n > 0 {
		list = append(list, fmt.Sprintf("%d acknowledged, but not in the database", n))
	}
	return list
}

// Prove runs the proofs on a broker, and checks that they find the faults that a
// transport can have.
func Prove(t *testing.T, b *Broker) {
	cluster := testkit.NewDurableCluster(t)
	t.Run("kills", func(t *testing.T) { ProveKills(t, cluster, b) })
	t.Run("poison", func(t *testing.T) { ProvePoison(t, cluster, b) })
	for _, fault := range []struct {
		name  string
		kills map[string]int
	}{
		{AckBeforeOutcome, map[string]int{"worker": 6}},
		{ConfirmNotAwaited, map[string]int{"broker": 2}},
		{RedeliveredDropped, map[string]int{"worker": 6}},
	} {
		t.Run("catches "+fault.name, func(t *testing.T) { Catch(t, cluster, b, fault.name, fault.kills) })
	}
}

// ProveKills kills publishers, workers, Postgres and the broker, if there is one,
// under load, and checks that nothing is lost or repeated.
func ProveKills(t *testing.T, cluster *testkit.DurableCluster, b *Broker) {
	p, began := newProof(t, cluster, b, ""), time.Now()
	kills := map[string]int{"publisher": *proofKills, "worker": *proofKills, "postgres": *proofKills}
	if b != nil {
		kills["broker"] = *proofKills
	}
	p.run(*proofMessages, kills)
	published := time.Since(began)
	p.drain(*proofKills < 50)
	for _, fault := range p.faults() {
		p.Error(fault)
	}
	var unmailed []string
	twice := 0
	for n := range p.acknowledged {
		if p.mailed[n] == 0 {
			unmailed = append(unmailed, "msg_"+n)
		} else if p.mailed[n] > 1 {
			twice++
		}
	}
	if dead := p.count(`SELECT count(*) FROM dead_letters WHERE "group" = 'mail' AND message ->> 'id' = ANY($1)`, unmailed); dead != len(unmailed) {
		p.Errorf("%d messages were not mailed, %d of them are dead letters", len(unmailed), dead)
	}
	if n := p.count(openJobs); n > 0 {
		p.Errorf("%d jobs are left", n)
	}
	p.Logf("%d messages, %d kills of each; published in %s, done after %s; %d jobs, %d effects, %d dead letters, %d repeated mails, highest attempt %d",
		*proofMessages, *proofKills, published.Round(time.Second), time.Since(began).Round(time.Second), p.count(`SELECT count(*) FROM river_job`),
		p.count(`SELECT count(*) FROM proof_effects`), p.count(`SELECT count(*) FROM dead_letters`), twice, p.count(`SELECT max(attempt) FROM proof_effects`))
}

// Catch checks that ProveKills finds a fault: it runs short proofs, with these kills,
// until one does.
func Catch(t *testing.T, cluster *testkit.DurableCluster, b *Broker, fault string, kills map[string]int) {
	p := newProof(t, cluster, b, fault)
	if fault == NoInbox {
		if _, err := p.db.Exec(p.Context(), `ALTER TABLE queue_inbox DROP CONSTRAINT queue_inbox_pkey`); err != nil {
			p.Fatal(err)
		}
	}
	for round := range 10 {
		p.reset()
		p.run(200, kills)
		if b == nil {
			p.end()
		} else {
			p.drain(true)
		}
		if list := p.faults(); len(list) > 0 {
			p.Logf("caught in round %d: %s", round+1, strings.Join(list, ", "))
			return
		}
	}
	p.Error("not caught")
}

// ProvePoison has a message that kills its process at each delivery: it becomes a
// dead letter, and others are delivered all the time.
func ProvePoison(t *testing.T, cluster *testkit.DurableCluster, b *Broker) {
	p := newProof(t, cluster, b, "")
	attempts := queue.DefaultRetryPolicy.MaxAttempts
	q, err := queue.New(p.db, proofRoutes, quiet())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, q, p.db, &queue.Message{ID: "msg_poison", Topic: "placed", Key: "poison"})
	if _, err := p.db.Exec(t.Context(), `UPDATE river_job SET args = jsonb_set(args, '{attempt}', to_jsonb($1::int))`, attempts-*proofPoison); err != nil {
		t.Fatal(err)
	}
	p.keep("worker", p.worker)
	published := 0
	for ; p.count(`SELECT count(*) FROM dead_letters WHERE message ->> 'key' = 'poison'`) < 2; published++ {
		publish(t, q, p.db, &queue.Message{ID: fmt.Sprintf("msg_%d", published), Topic: "placed", Key: strconv.Itoa(published)})
		if *proofPoison < attempts {
			p.passTime(`attempted_by && (SELECT array_agg(by) FROM river_job poison, unnest(poison.attempted_by) AS by
				WHERE poison.args ->> 'key' = 'poison' AND poison.state = 'running')`)
			p.hurry()
		}
		time.Sleep(100 * time.Millisecond) // a steady flow
	}
	p.mu.Lock()
	flowed := len(p.mailed)
	p.mu.Unlock()
	least := published / 2
	if b != nil { // some brokers give the messages of a dead consumer to others after a while only
		least = published / 5
	}
	if flowed < least {
		t.Errorf("%d of %d other messages were mailed until the poison was dead", flowed, published)
	}
	for p.count(openJobs) > 0 || p.inBroker() > 0 {
		if *proofPoison < attempts {
			p.hurry()
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.end()
	if len(p.mailed) != published {
		t.Errorf("%d of %d other messages were mailed", len(p.mailed), published)
	}
	letters := deadLetters(t, q)
	for _, d := range letters {
		// River finds out at one more delivery. With a broker, both may count one death.
		failures := len(d.Message.History)
		if d.Message.Key != "poison" || d.Attempts != attempts || failures > *proofPoison+1 || failures < *proofPoison || b == nil && failures == *proofPoison {
			t.Errorf("dead letter %+v", d)
		}
	}
	t.Logf("%d of %d other messages were mailed before; %+v", flowed, published, letters[0].Message.History)
}

// drain delivers what is left, in Postgres and in the broker, and ends all children.
// If time passes, messages don't wait for their next attempt.
func (p *proof) drain(timePasses bool) {
	p.end()
	if timePasses {
		p.passTime("true")
	}
	left := func() bool { return p.count(openJobs) > 0 || p.inBroker() > 0 }
	deadline := time.Now().Add(3 * time.Minute)
	for left() && time.Now().Before(deadline) { // what was in delivery at the end may be put back
		p.keep("worker", p.worker)
		for left() && time.Now().Before(deadline) {
			if timePasses {
				p.hurry()
			}
			time.Sleep(50 * time.Millisecond)
		}
		p.end()
	}
}

// inBroker returns how many messages the broker has that nobody has taken.
func (p *proof) inBroker() (n int64) {
	if p.transport == nil {
		return 0
	}
	for group := range proofHandlers() {
		waiting, err := p.transport.Waiting(context.WithoutCancel(p.Context()), group)
		if err != nil {
			p.Fatal(err)
		}
		n += waiting
	}
	return n
}

// passTime makes River take the processes that run the jobs of a condition for
// dead, and elect a new leader, at once instead of after half a minute.
func (p *proof) passTime(condition string) {
	tag, err := p.db.Exec(p.Context(), `UPDATE river_job SET attempted_at = attempted_at - interval '1 hour'
		WHERE state = 'running' AND attempted_at > now() - interval '30 minutes' AND `+condition)
	if err == nil && tag.RowsAffected() > 0 {
		_, err = p.db.Exec(p.Context(), `DELETE FROM river_leader`)
	}
	if err != nil {
		p.Error(err)
	}
}

// hurry makes rescued jobs available at once.
func (p *proof) hurry() {
	if _, err := p.db.Exec(p.Context(), makeDue); err != nil {
		p.Error(err)
	}
}
