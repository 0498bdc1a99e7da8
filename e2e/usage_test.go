package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

type usageResponse struct {
	Bucket string `json:"bucket"`
	Data   []struct {
		Start                            time.Time `json:"start"`
		Requests, Allowed, Refused, Cost int64
	} `json:"data"`
}

// total returns the sums of requests, allowed, refused and cost.
func (u usageResponse) total() [4]int64 {
	var sum [4]int64
	for _, b := range u.Data {
		sum[0] += b.Requests
		sum[1] += b.Allowed
		sum[2] += b.Refused
		sum[3] += b.Cost
	}
	return sum
}

type refusalsResponse struct {
	Data []struct {
		RequestID        string       `json:"request_id"`
		At               time.Time    `json:"at"`
		Route            string       `json:"route"`
		ViolatedPolicies []string     `json:"violated_policies"`
		Limits           []limitState `json:"limits"`
	} `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// allUsage is SQL for what is written, rolled up or not.
const allUsage = `(SELECT requests, refused, cost FROM usage_days
	UNION ALL SELECT succeeded + rejected + failed + refused, refused, (succeeded + rejected) * unit FROM usage_recent) AS usage`

// awaitUsage polls the usage until it has this number of requests, which takes a
// second and a flush.
func awaitUsage(t *testing.T, caller *testkit.Client, path string, requests int64) usageResponse {
	t.Helper()
	begin := time.Now()
	for {
		var response usageResponse
		caller.Get(path).Want(http.StatusOK).JSON(&response)
		if response.total()[0] == requests {
			t.Logf("visible after %s", time.Since(begin))
			return response
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("got %d requests after 20 s; want %d", response.total()[0], requests)
		}
		time.Sleep(200 * time.Millisecond) // the route has a rate of its own, and the clock may stand still
	}
}

func TestUsage(t *testing.T) {
	app := newApp(t)
	app.plan("ten", `[{"name":"ten","algorithm":"fixed_window","limit":10,"period":"1h"},
		{"name":"four","algorithm":"fixed_window","limit":4,"period":"1h","mode":"shadow"}]`)
	text := app.key(models.NewKey{Plan: "ten"})
	caller := app.As(text)
	caller.Get("/v1/products").Want(http.StatusOK)
	caller.Get("/v1/products/none").Want(http.StatusNotFound)
	caller.Post("/v1/orders", order1).Want(http.StatusCreated)
	caller.Post("/v1/orders", order1).Want(http.StatusTooManyRequests)
	app.exec(`ALTER TABLE products RENAME sku TO hidden`)
	caller.Get("/v1/products?limit=3").Want(http.StatusInternalServerError) // not cached
	app.exec(`ALTER TABLE products RENAME hidden TO sku`)
	for range 5 {
		caller.Get("/v1/me").Want(http.StatusOK) // not counted
		caller.Get("/v1/nothing").Want(http.StatusNotFound)
	}
	for _, bucket := range []string{"", "minute", "hour", "day"} {
		path := "/v1/me/usage"
		if bucket != "" {
			path += "?bucket=" + bucket
		}
		response := awaitUsage(t, caller, path, 5)
		if want := [4]int64{5, 4, 1, 1 + 1 + 5}; response.total() != want || bucket != "" && response.Bucket != bucket {
			t.Errorf("bucket %s: got %v; want %v", response.Bucket, response.total(), want)
		}
	}
	if got := awaitUsage(t, caller, "/v1/me/usage?group=orders:write", 2).total(); got != [4]int64{2, 1, 1, 5} {
		t.Errorf("orders: got %v", got)
	}
	if err := app.app.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := awaitUsage(t, caller, "/v1/me/usage?policy=four", 5).total(); got[2] != 2 {
		t.Errorf("shadow policy: got %v; want the 2 orders refused", got)
	}
	id := idOf(text)
	admin := app.admin(models.ScopeAdminKeys)
	if got := awaitUsage(t, admin, "/v1/admin/keys/"+id+"/usage", 5); got.Bucket != "hour" {
		t.Errorf("got %+v", got)
	}
	admin.Get("/v1/admin/keys/none/usage").Want(http.StatusNotFound)
	var own usageResponse
	admin.Get("/v1/me/usage").Want(http.StatusOK).JSON(&own)
	if len(own.Data) != 0 {
		t.Errorf("got usage %+v of an operator; want none", own)
	}
	var key struct {
		LastUsedAt *time.Time `json:"last_used_at"`
	}
	if err := app.db.QueryRow(t.Context(), `SELECT last_used_at FROM api_keys WHERE id = $1`, id).Scan(&key.LastUsedAt); err != nil || key.LastUsedAt == nil {
		t.Errorf("got last_used_at %v, error %v", key.LastUsedAt, err)
	}
}

func TestUsage_flushed_on_shutdown(t *testing.T) {
	t.Parallel()
	address := testkit.DatabaseURL(t)
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+address, "KEY_PEPPER="+testPepper)
	app := newApp(t, onDatabase(address))
	keys := []string{readDevKeys(t, dir).Demo, readDevKeys(t, dir).Admin}
	var mu sync.Mutex
	var allowed, refused int64
	var calls sync.WaitGroup
	for i := range 200 {
		calls.Go(func() {
			response := server.As(keys[i%len(keys)]).Get("/v1/products")
			mu.Lock()
			defer mu.Unlock()
			switch response.Status {
			case http.StatusOK:
				allowed++
			case http.StatusTooManyRequests:
				refused++
			}
		})
	}
	calls.Wait()
	if code := server.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("got exit code %d; want 0\n%s", code, server.stderr)
	}
	var requests, refusedUsage, cost int64
	if err := app.db.QueryRow(t.Context(), `SELECT sum(requests), sum(refused), sum(cost) FROM `+allUsage).Scan(&requests, &refusedUsage, &cost); err != nil {
		t.Fatal(err)
	}
	if allowed+refused != 200 || requests != 200 || refusedUsage != refused || cost != allowed {
		t.Errorf("sent %d allowed and %d refused; got usage of %d requests, %d refused, cost %d", allowed, refused, requests, refusedUsage, cost)
	}
}

func TestRefusals(t *testing.T) {
	app := newApp(t)
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"},
		{"name":"many","algorithm":"fixed_window","limit":100,"period":"1h"},
		{"name":"one","algorithm":"fixed_window","limit":1,"period":"1h","mode":"shadow"}]`)
	text := app.key(models.NewKey{Plan: "two"})
	caller := app.As(text)
	caller.Get("/v1/products").Want(http.StatusOK)
	caller.Get("/v1/products", "X-Request-Id", "shadowed").Want(http.StatusOK)
	caller.Post("/v1/orders", order1, "X-Request-Id", "why").Want(http.StatusTooManyRequests)
	if err := app.app.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	var response refusalsResponse
	caller.Get("/v1/me/refusals?request_id=why").Want(http.StatusOK).JSON(&response)
	if len(response.Data) != 1 || response.NextCursor != nil {
		t.Fatalf("got %+v; want one refusal", response)
	}
	got := response.Data[0]
	if got.RequestID != "why" || got.Route != "POST /v1/orders" || strings.Join(got.ViolatedPolicies, ",") != "two" || time.Since(got.At).Abs() > time.Minute {
		t.Errorf("got %+v", got)
	}
	var seen []string
	for _, l := range got.Limits {
		seen = append(seen, fmt.Sprintf("%s %s %d/%d", l.Policy, l.Mode, l.Remaining, l.Limit))
	}
	if strings.Join(seen, ", ") != "two enforce 0/2, many enforce 98/100, one shadow 0/1" {
		t.Errorf("got limits %v", seen)
	}
	var all refusalsResponse
	caller.Get("/v1/me/refusals").Want(http.StatusOK).JSON(&all)
	if len(all.Data) != 2 || all.Data[1].RequestID != "shadowed" || len(all.Data[1].ViolatedPolicies) != 0 {
		t.Errorf("got all %+v", all.Data)
	}
	var page refusalsResponse
	caller.Get("/v1/me/refusals?limit=1").Want(http.StatusOK).JSON(&page)
	caller.Get("/v1/me/refusals?limit=1&cursor=" + *page.NextCursor).Want(http.StatusOK).JSON(&page)
	if len(page.Data) != 1 || page.Data[0].RequestID != "shadowed" || page.NextCursor != nil {
		t.Errorf("got second page %+v", page)
	}

	id := idOf(text)
	admin := app.admin(models.ScopeAdminKeys)
	var theirs refusalsResponse
	admin.Get("/v1/admin/keys/" + id + "/refusals").Want(http.StatusOK).JSON(&theirs)
	if len(theirs.Data) != 2 {
		t.Errorf("operator: got %+v; want 2 refusals", theirs.Data)
	}
	admin.Get("/v1/admin/keys/none/refusals").Want(http.StatusNotFound)
	var mine refusalsResponse
	app.caller("two").Get("/v1/me/refusals").Want(http.StatusOK).JSON(&mine)
	if len(mine.Data) != 0 {
		t.Errorf("other key: got %+v; want none", mine.Data)
	}
}

func TestSimulation(t *testing.T) {
	app := newApp(t)
	app.plan("ten", `[{"name":"ten","algorithm":"fixed_window","limit":10,"period":"7d"}]`)
	text := app.key(models.NewKey{Plan: "ten"})
	for range 15 {
		app.As(text).Get("/v1/products")
	}
	if err := app.app.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := idOf(text)
	path := "/v1/admin/keys/" + id + "/simulate"
	type simulation struct {
		Requests       int64            `json:"requests"`
		WouldRefuse    int64            `json:"would_refuse"`
		FirstRefusalAt *time.Time       `json:"first_refusal_at"`
		ByPolicy       map[string]int64 `json:"by_policy"`
		Timeline       []struct {
			Start       time.Time `json:"start"`
			Requests    int64     `json:"requests"`
			WouldRefuse int64     `json:"would_refuse"`
		} `json:"timeline"`
		Resolution string `json:"resolution"`
	}
	admin := app.admin(models.ScopeAdminKeys)
	for limit, refused := range map[int]int64{10: 5, 3: 12, 100: 0} {
		var got simulation
		admin.Post(path, fmt.Sprintf(`{"policies":[{"name":"ten","algorithm":"fixed_window","limit":%d,"period":"7d"}]}`, limit)).Want(http.StatusOK).JSON(&got)
		if got.Requests != 15 || got.WouldRefuse != refused || got.ByPolicy["ten"] != refused || (got.FirstRefusalAt == nil) != (refused == 0) ||
			got.Resolution != "1s" || len(got.Timeline) == 0 {
			t.Errorf("limit %d: got %+v", limit, got)
		}
	}
	admin.Post("/v1/admin/keys/none/simulate", `{"policies":[]}`).Want(http.StatusNotFound)
	app.caller("ten").Post(path, `{"policies":[]}`).Want(http.StatusForbidden)
}

func TestUsage_faults(t *testing.T) {
	app := newApp(t)
	caller, admin := app.caller("internal"), app.admin(models.ScopeAdminKeys)
	id := idOf(app.key(models.NewKey{}))
	for query, want := range map[string]string{
		"bucket=week&from=yesterday&group=x":                                   "from:time bucket:enum group:enum",
		"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z":                    "from:range",
		"from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z&bucket=minute":      "bucket:range",
		"policy=" + strings.Repeat("x", 201):                                   "policy:max_length",
		"to=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC822)): "to:time",
	} {
		if got := faultsOf(caller.Get("/v1/me/usage?" + query)); got != want {
			t.Errorf("%s: got %s; want %s", query, got, want)
		}
	}
	query := "?limit=0&cursor=x&request_id=" + strings.Repeat("x", 201)
	if got, want := faultsOf(caller.Get("/v1/me/refusals"+query)), "request_id:max_length limit:min cursor:cursor"; got != want {
		t.Errorf("%s: got %s; want %s", query, got, want)
	}
	hour := func(n int) string { return time.Now().Add(time.Duration(n) * time.Hour).UTC().Format(time.RFC3339) }
	for body, want := range map[string]string{
		`{}`: "/policies:required",
		`{"policies":[{"name":"x","algorithm":"none","limit":0}],"from":"x"}`:                                        "/policies/0/limit:min /policies/0/algorithm:enum /policies/0/period:required /from:time",
		`{"policies":[],"from":"` + hour(0) + `","to":"` + hour(-1) + `"}`:                                           "/from:range",
		`{"policies":[],"from":"` + hour(-200) + `"}`:                                                                "/from:range",
		`{"policies":[],"from":"` + hour(-200) + `","to":"` + hour(-190) + `"}`:                                      "/from:min",
		`{"policies":[{"name":"p","algorithm":"concurrency","limit":1}]}`:                                            "/policies/0/algorithm:not_recorded",
		`{"policies":[{"name":"p","algorithm":"fixed_window","limit":1,"period":"1m","group":"nobody"}],"days":"7"}`: "/policies/0/group:enum /days:unknown",
	} {
		if got := faultsOf(admin.Post("/v1/admin/keys/"+id+"/simulate", body)); got != want {
			t.Errorf("%s: got %s; want %s", body, got, want)
		}
	}
}

// A SIGKILL loses only the usage that isn't flushed yet, about one second.
func TestUsage_killed_server_keeps_visible(t *testing.T) {
	t.Parallel()
	address, dir := testkit.DatabaseURL(t), t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+address, "KEY_PEPPER="+testPepper)
	key := readDevKeys(t, dir).Admin // its plan has no limits
	const first = 200
	for range first {
		server.As(key).Get("/v1/products").Want(http.StatusOK)
	}
	awaitUsage(t, server.As(key), "/v1/me/usage", first)
	var sent atomic.Int64
	begin := time.Now()
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for time.Since(begin) < 2*time.Second {
				server.As(key).Get("/v1/products").Want(http.StatusOK)
				sent.Add(1)
			}
		})
	}
	calls.Wait()
	server.end(syscall.SIGKILL)

	app := newApp(t, onDatabase(address))
	var stored int64
	if err := app.db.QueryRow(t.Context(), `SELECT sum(requests) FROM `+allUsage).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	lost := first + sent.Load() - stored
	t.Logf("SIGKILL lost %[2]d of %[1]d requests in 2 s: those of %[3].2f s", sent.Load(), lost, 2*float64(lost)/float64(sent.Load()))
	if lost < 0 || stored < first {
		t.Errorf("got %d requests of %d, of which %d were visible before", stored, first+sent.Load(), first)
	}
}
