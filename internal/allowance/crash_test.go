package allowance_test

import (
	"bufio"
	"context"
	"flag"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/allowance"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

var (
	crashRounds   = flag.Int("crash-rounds", 4, "rounds of four SIGKILLs each")
	crashRestarts = flag.Int("crash-restarts", 2, "rounds in which Postgres is killed, too")
)

// childVariable makes the test program an instance of the crash test. Its value
// is the fault to have, or "none".
const childVariable = "ALLOWANCE_CRASH_CHILD"

func TestMain(m *testing.M) {
	if broken := os.Getenv(childVariable); broken != "" {
		runChild(broken)
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

const (
	crashLimit = 20_000
	// crashWaste is what one SIGKILL may waste: 2 % of the limit, and the
	// requests that were admitted and not reported.
	crashWaste = crashLimit/50 + crashWorkers*(crashHeld+1)*crashCost
	// crashWorkers is the number of callers of an instance, crashHeld the number
	// of requests that each has under way, and crashCost the highest cost.
	crashWorkers, crashHeld, crashCost = 3, 20, 3
)

var crashPolicy = ratelimit.Policy{Name: "daily", Algorithm: ratelimit.Calendar, Limit: crashLimit, Period: ratelimit.Day}

// runChild is an instance: it takes units as fast as it can and reports each
// that was spent as the letter of its day, 'r' for a refusal and 'u' for an
// unavailable quota. A line on standard input is the next day, the end of input
// the end.
func runChild(broken string) {
	address := os.Getenv("ALLOWANCE_CRASH_URL")
	db, err := postgres.NewPool("postgres://?sslmode=disable", postgres.WithBeforeConnect(func(_ context.Context, cfg *pgx.ConnConfig) error {
		text, err := os.ReadFile(address) // it changes when Postgres is restarted
		if err != nil {
			return err
		}
		now, err := pgx.ParseConfig(string(text))
		if err == nil {
			cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = now.Host, now.Port, now.User, now.Password, now.Database
		}
		return err
	}))
	if err != nil {
		panic(err)
	}
	store := faultyStore{memory.New(), broken}
	service := allowance.New(allowance.NewTable(db), store, slog.New(slog.DiscardHandler))
	if err := service.Start(context.Background()); err != nil {
		panic(err)
	}
	c := &child{store: service, days: make(chan struct{})}
	c.day.Store(int64(atoi(os.Getenv("ALLOWANCE_CRASH_DAY"))))
	c.limiter = ratelimit.New(store, ratelimit.WithClock(c.now), ratelimit.WithAllowances(service))
	if c.quota, err = ratelimit.NewQuota([]ratelimit.Policy{crashPolicy}, ratelimit.Subjects{Key: os.Getenv("ALLOWANCE_CRASH_SUBJECT")}); err != nil {
		panic(err)
	}
	var callers sync.WaitGroup
	for seed := range crashWorkers {
		callers.Go(func() { c.call(rand.New(rand.NewPCG(uint64(seed), uint64(os.Getpid())))) })
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		c.day.Add(1)
	}
	close(c.days)
	callers.Wait()
	_ = service.Stop(context.Background())
}

func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

type child struct {
	limiter *ratelimit.Limiter
	store   *allowance.Service
	quota   *ratelimit.Quota
	day     atomic.Int64
	days    chan struct{} // closed at the end
}

// now is 23:59:55 of the first day, or 00:00:05 of a later one.
func (c *child) now() time.Time {
	if day := c.day.Load(); day > 0 {
		return time.Date(2026, 3, 1+int(day), 0, 0, 5, 0, time.UTC)
	}
	return time.Date(2026, 3, 1, 23, 59, 55, 0, time.UTC)
}

func (c *child) call(rng *rand.Rand) {
	ctx := context.Background()
	var held []*ratelimit.Reservation
	refund := func(n int) {
		for _, r := range held[:n] {
			_ = r.Settle(ctx, ratelimit.Rejected)
		}
		held = held[n:]
	}
	for {
		select {
		case <-c.days:
			refund(len(held))
			return
		default:
		}
		day, cost := c.day.Load(), 1+rng.Int64N(crashCost)
		r := new(ratelimit.Reservation)
		err := c.limiter.Reserve(ctx, r, c.quota, "", cost)
		switch {
		case err != nil:
			report("u")
			time.Sleep(10 * time.Millisecond) // don't spin while Postgres starts
		case !r.Decision.Allowed:
			report("r")
			refund(len(held))
			time.Sleep(10 * time.Millisecond)
		case rng.IntN(10) == 0:
			held = append(held, r) // refunded later, maybe in another period
		default:
			_ = r.Settle(ctx, ratelimit.Succeeded)
			if c.day.Load() == day { // otherwise it is unknown which day was charged
				report(strings.Repeat(string(rune('A'+day)), int(cost)))
			}
		}
		if len(held) > 0 && (len(held) == crashHeld || rng.IntN(20) == 0) {
			refund(1)
		}
	}
}

func report(text string) { _, _ = io.WriteString(os.Stdout, text) }

// crashTest runs children on a Postgres with fsync.
type crashTest struct {
	*testing.T
	folder, address string
	server          *devdb.Server
	broken          string
}

func newCrashTest(t *testing.T, broken string) *crashTest {
	c := &crashTest{T: t, folder: t.TempDir(), broken: broken}
	c.address = filepath.Join(c.folder, "url")
	c.startPostgres()
	t.Cleanup(func() { _ = c.server.Stop(context.Background()) })
	db, err := postgres.NewPool(c.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := postgres.Migrate(t.Context(), db, migrations.FS); err != nil {
		t.Fatal(err)
	}
	var source string
	if err := db.QueryRow(t.Context(), `SELECT pg_get_functiondef('lease_allowances'::regproc)`).Scan(&source); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{breakFunction(source, broken), recordPeak} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// recordPeak records the most units that a durable counter has had. Instances
// return units, and don't spend units above the limit that they know of, so that
// the last value doesn't show a guard that failed.
const recordPeak = `
	ALTER TABLE allowances ADD COLUMN peak bigint NOT NULL DEFAULT 0;
	CREATE FUNCTION record_peak() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN NEW.peak = greatest(NEW.peak, NEW.used); RETURN NEW; END $$;
	CREATE TRIGGER record_peak BEFORE INSERT OR UPDATE ON allowances FOR EACH ROW EXECUTE FUNCTION record_peak()`

func (c *crashTest) startPostgres() {
	c.Helper()
	server, err := devdb.Start(context.Background(), devdb.Config{DataDir: filepath.Join(c.folder, "data"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.Fatal(err)
	}
	c.server = server
	if err := os.WriteFile(c.address+".new", []byte(server.URL()), 0o600); err != nil {
		c.Fatal(err)
	}
	if err := os.Rename(c.address+".new", c.address); err != nil {
		c.Fatal(err)
	}
}

// killPostgres kills Postgres with SIGKILL and starts it again.
func (c *crashTest) killPostgres() {
	u, err := url.Parse(c.server.URL())
	if err != nil {
		c.Fatal(err)
	}
	pids, err := filepath.Glob(filepath.Join(c.folder, "data", "postgres-*", "postmaster.pid"))
	if err != nil || len(pids) != 1 {
		c.Fatalf("postmaster.pid of %s: %v, %v", u.Host, pids, err)
	}
	text, err := os.ReadFile(pids[0])
	if err != nil {
		c.Fatal(err)
	}
	_ = syscall.Kill(-atoi(strings.Fields(string(text))[0]), syscall.SIGKILL)
	<-c.server.Done()
	_ = c.server.Stop(context.Background()) // it says how Postgres ended
	c.startPostgres()
}

// running is a child and what it has reported.
type running struct {
	*exec.Cmd
	in     io.WriteCloser
	events chan byte // of the output; closed at its end
}

func (c *crashTest) child(subject string, day int) *running {
	c.Helper()
	program, err := os.Executable()
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childVariable+"="+c.broken, "ALLOWANCE_CRASH_URL="+c.address,
		"ALLOWANCE_CRASH_SUBJECT="+subject, "ALLOWANCE_CRASH_DAY="+strconv.Itoa(day),
		"GORACE=atexit_sleep_ms=0") // with -race, a stop would take a second, in which others spend the day
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	r := &running{Cmd: cmd, in: in, events: make(chan byte, 1<<16)}
	go func() {
		defer close(r.events)
		reader := bufio.NewReader(out)
		for {
			b, err := reader.ReadByte()
			if err != nil {
				return
			}
			r.events <- b
		}
	}()
	return r
}

// plan is what happens in a round.
type plan struct {
	subject string
	restart bool // kill Postgres, too
	calm    bool // stop instances in order instead of killing them, so that no waste hides a fault
	half    bool // the first day ends when half of it is spent
}

// round runs three instances over two days, ends four of them at random moments,
// and returns the units that were spent on each day.
func (c *crashTest) round(rng *rand.Rand, p plan) (spent [2]int) {
	var children [3]*running
	for i := range children {
		children[i] = c.child(p.subject, 0)
	}
	c.spend(rng, &children, p, 0, &spent)
	for _, r := range children {
		_, _ = io.WriteString(r.in, "\n")
	}
	c.spend(rng, &children, p, 1, &spent)
	for _, r := range children {
		c.stop(r, &spent)
	}
	return spent
}

// stop stops a child in order.
func (c *crashTest) stop(r *running, spent *[2]int) {
	_ = r.in.Close()
	r.drain(spent)
	if err := r.Wait(); err != nil {
		c.Error(err)
	}
}

// drain counts what the child reported until its end.
func (r *running) drain(spent *[2]int) {
	for b := range r.events {
		count(spent, b)
	}
}

func count(spent *[2]int, b byte) {
	if b == 'A' || b == 'B' {
		spent[b-'A']++
	}
}

// spend runs the children until all are refused on a day, or half of it is
// spent.
func (c *crashTest) spend(rng *rand.Rand, children *[3]*running, p plan, day int, spent *[2]int) {
	ends, endAt := 2, crashLimit/10*(1+rng.IntN(3)) // units of the day
	refused := map[*running]int{}
	for {
		done, idle := true, true
		for _, r := range children {
			done = done && refused[r] >= 20 // in a row: what others return is spent, too
			select {
			case b, ok := <-r.events:
				idle = false
				if !ok {
					c.Fatal("a child ended by itself")
				}
				count(spent, b)
				if refused[r]++; b != 'r' {
					refused[r] = 0
				}
			default:
			}
		}
		if ends > 0 && spent[day] >= endAt {
			ends, endAt = ends-1, endAt+crashLimit/10
			c.end(&children[rng.IntN(3)], p, day, spent)
		}
		if done || p.half && day == 0 && ends == 0 && spent[0] >= crashLimit/2 {
			return
		}
		if idle {
			time.Sleep(time.Millisecond) // the children need the cores
		}
	}
}

// end ends an instance and starts its successor.
func (c *crashTest) end(r **running, p plan, day int, spent *[2]int) {
	if p.calm {
		c.stop(*r, spent)
	} else {
		_ = (*r).Process.Kill()
		(*r).drain(spent)
		_ = (*r).Wait()
	}
	if p.restart {
		c.killPostgres()
	}
	*r = c.child(p.subject, day)
}

// exceeded returns whether a day was exceeded, by what was spent or by what the
// durable counters know.
func (c *crashTest) exceeded(p plan, spent [2]int) bool {
	db, err := pgx.Connect(c.Context(), c.server.URL())
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = db.Close(c.Context()) }()
	rows, err := db.Query(c.Context(), `SELECT used, peak FROM allowances WHERE subject = $1 ORDER BY period_start`, p.subject)
	if err != nil {
		c.Fatal(err)
	}
	type counter struct{ Used, Peak int }
	counters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counter])
	if err != nil || len(counters) != 2 {
		c.Fatal(counters, err)
	}
	c.Logf("%+v: %v of %d units spent, counted %+v", p, spent, crashLimit, counters)
	exceeded := false
	for day, n := range counters {
		exceeded = exceeded || spent[day] > min(crashLimit, n.Used) || n.Peak > crashLimit
	}
	return exceeded
}

// TestService_killed kills instances, and Postgres, under load. make
// proof-allowances does it 200 times.
func TestService_killed(t *testing.T) {
	t.Parallel()
	c := newCrashTest(t, "none")
	rng := rand.New(rand.NewPCG(7, 7))
	for n := range *crashRounds {
		p := plan{subject: "subject " + strconv.Itoa(n), restart: n < *crashRestarts, half: n%2 == 1}
		spent := c.round(rng, p)
		if c.exceeded(p, spent) {
			t.Errorf("more than the limit was admitted")
		}
		bound := 2 * crashWaste // of two kills a day
		if p.restart {
			bound += 2 * 3 * 2 * crashWaste // two lost replies of each instance and Postgres kill
		}
		if spent[1] < crashLimit-bound || !p.half && spent[0] < crashLimit-bound {
			t.Errorf("more than %d units were wasted", bound)
		}
	}
}

// TestService_killed_catches checks that the proof finds each of these faults.
func TestService_killed_catches(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		"guard in a subquery", "refund into another period", "lease spent after its period", "lease returned twice", "prefetch counted twice",
	} {
		t.Run(broken, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 7))
			c := newCrashTest(t, broken)
			for n := range 10 {
				p := plan{subject: "subject " + strconv.Itoa(n), calm: true, half: true}
				if c.exceeded(p, c.round(rng, p)) {
					return
				}
			}
			t.Error("not caught")
		})
	}
}
