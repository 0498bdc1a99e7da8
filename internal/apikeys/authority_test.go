package apikeys

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

func networks(list ...string) []netip.Prefix {
	parsed := []netip.Prefix{}
	for _, text := range list {
		parsed = append(parsed, netip.MustParsePrefix(text))
	}
	return parsed
}

// fences are an operator with admin:keys that is fenced in by expiry, addresses and
// plan, and what it may not give or take.
type fences struct {
	*testStore
	ctx           context.Context // in which the operator acts
	operator      models.APIKey
	sooner, later time.Time
	override      models.Override
}

func newFences(t *testing.T, scopes ...models.Scope) *fences {
	s := newTestStore(t)
	expiry := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Microsecond)
	f := &fences{testStore: s, sooner: expiry.Add(-time.Hour), later: expiry.Add(time.Hour)}
	f.operator = s.create(models.NewKey{
		Name: "operator", Owner: "house", Plan: "internal", Scopes: append(scopes, models.ScopeAdminKeys, models.ScopeProductsRead),
		ExpiresAt: &expiry, IPAllow: networks("10.0.0.0/8", "2001:db8::/32"),
	})
	f.ctx = s.as(f.operator)
	limit := ratelimit.Policy{Name: "own", Algorithm: ratelimit.FixedWindow, Limit: 6, Period: ratelimit.Every(time.Minute)}
	f.override = models.Override{Policy: limit, ExpiresAt: &f.sooner, Reason: "launch"}
	return f
}

// spec returns a key within the operator's fences, of its own owner, changed by
// change.
func (f *fences) spec(change func(*models.NewKey)) models.NewKey {
	spec := models.NewKey{
		Name: "k", Owner: "house", Plan: "internal", Scopes: []models.Scope{models.ScopeProductsRead},
		ExpiresAt: &f.sooner, IPAllow: networks("10.1.0.0/16"),
	}
	if change != nil {
		change(&spec)
	}
	return spec
}

// excesses are keys outside of the operator's fences, and the codes of giving them.
func (f *fences) excesses() map[string]struct {
	code   string
	change func(*models.NewKey)
} {
	return map[string]struct {
		code   string
		change func(*models.NewKey)
	}{
		"within":              {"ok", nil},
		"own expiry":          {"ok", func(k *models.NewKey) { k.ExpiresAt = f.operator.ExpiresAt }},
		"later expiry":        {"admin_required", func(k *models.NewKey) { k.ExpiresAt = &f.later }},
		"no expiry":           {"admin_required", func(k *models.NewKey) { k.ExpiresAt = nil }},
		"own networks":        {"ok", func(k *models.NewKey) { k.IPAllow = f.operator.IPAllow }},
		"everywhere":          {"admin_required", func(k *models.NewKey) { k.IPAllow = networks() }},
		"wider network":       {"admin_required", func(k *models.NewKey) { k.IPAllow = networks("10.0.0.0/7") }},
		"another network":     {"admin_required", func(k *models.NewKey) { k.IPAllow = networks("10.0.0.0/8", "192.0.2.1/32") }},
		"all of IPv6":         {"admin_required", func(k *models.NewKey) { k.IPAllow = networks("::/0") }},
		"mapped IPv4 network": {"admin_required", func(k *models.NewKey) { k.IPAllow = networks("::ffff:0.0.0.0/96") }},
		"default plan":        {"ok", func(k *models.NewKey) { k.Plan = models.DefaultPlan }},
		"another plan":        {"scope_missing", func(k *models.NewKey) { k.Plan = "pro" }},
		"override":            {"admin_required", func(k *models.NewKey) { k.Overrides = []models.Override{f.override} }},
		"another owner":       {"admin_required", func(k *models.NewKey) { k.Owner = "other" }},
		"another scope":       {"scope_missing", func(k *models.NewKey) { k.Scopes = []models.Scope{models.ScopeProductsWrite} }},
	}
}

func apply(change func(*models.NewKey), key *models.APIKey) {
	spec := models.NewKey{
		Owner: key.Owner, Plan: key.Plan, Scopes: key.Scopes, ExpiresAt: key.ExpiresAt, IPAllow: key.IPAllow, Overrides: key.Overrides,
	}
	if change != nil {
		change(&spec)
	}
	key.Owner, key.Plan, key.Scopes, key.ExpiresAt, key.IPAllow, key.Overrides = spec.Owner, spec.Plan, spec.Scopes, spec.ExpiresAt, spec.IPAllow, spec.Overrides
}

// The operator neither makes nor changes a key, itself included, to one outside of
// its fences.
func TestFences_give(t *testing.T) {
	f := newFences(t)
	for name, excess := range f.excesses() {
		if _, _, err := f.Create(f.ctx, f.spec(excess.change)); outcome(err) != excess.code {
			t.Errorf("create with %s: got %v; want %s", name, err, excess.code)
		}
		targets := map[string]string{"its own": f.create(f.spec(nil)).ID}
		if excess.code != "ok" { // such changes would give the next ones another operator
			targets["itself"] = f.operator.ID
		}
		for what, id := range targets {
			_, err := f.Change(f.ctx, id, models.Precondition{}, func(key *models.APIKey) { apply(excess.change, key) })
			if outcome(err) != excess.code {
				t.Errorf("change %s to %s: got %v; want %s", what, name, err, excess.code)
			}
		}
	}
	// The default owner is a new one, whose keys may have overrides.
	if _, _, err := f.Create(f.ctx, f.spec(func(k *models.NewKey) { k.Owner, k.Overrides = "", []models.Override{f.override} })); err != nil {
		t.Errorf("create with overrides for a new owner: got %v", err)
	}
	// Another owner's operator could change the overrides of the first one's keys.
	operators := func(k *models.NewKey) { k.Owner, k.Scopes = "", []models.Scope{models.ScopeAdminKeys} }
	if _, _, err := f.Create(f.ctx, f.spec(operators)); outcome(err) != "admin_required" {
		t.Errorf("create an operator of a new owner: got %v", err)
	}
	foreign := f.create(f.spec(func(k *models.NewKey) { k.Owner = "other" }))
	_, err := f.Change(f.ctx, foreign.ID, models.Precondition{}, func(k *models.APIKey) { k.Scopes = append(k.Scopes, models.ScopeAdminKeys) })
	if outcome(err) != "admin_required" {
		t.Errorf("make another owner's key an operator: got %v", err)
	}
	if _, _, err := f.Create(f.ctx, f.spec(func(k *models.NewKey) { k.Scopes = []models.Scope{models.ScopeAdminKeys} })); err != nil {
		t.Errorf("create an operator of its own owner: got %v", err)
	}
	planner := newFences(t, models.ScopeAdminPlans)
	if _, _, err := planner.Create(planner.ctx, planner.spec(func(k *models.NewKey) { k.Plan = "pro" })); err != nil {
		t.Errorf("create with another plan and admin:plans: got %v", err)
	}
	root := f.as(f.create(models.NewKey{Name: "root", Admin: true, Owner: "house", ExpiresAt: &f.sooner, IPAllow: networks("10.0.0.0/8")}))
	for name, excess := range f.excesses() {
		if _, _, err := f.Create(root, f.spec(excess.change)); err != nil {
			t.Errorf("create as admin with %s: got %v", name, err)
		}
	}
}

// What a key has already may stay, be sent back and be taken away, except for
// overrides of the operator's own owner.
func TestFences_keep(t *testing.T) {
	f := newFences(t)
	for name, test := range map[string]struct {
		target string
		change func(*models.APIKey)
		code   string
	}{
		"rename":               {"all", func(k *models.APIKey) { k.Name = "x" }, "ok"},
		"same values":          {"all", func(k *models.APIKey) { k.Name, k.IPAllow = "y", networks() }, "ok"},
		"earlier expiry":       {"no expiry", func(k *models.APIKey) { k.ExpiresAt = &f.later }, "ok"},
		"longer again":         {"later expiry", func(k *models.APIKey) { k.ExpiresAt = nil }, "admin_required"},
		"fewer networks":       {"everywhere", func(k *models.APIKey) { k.IPAllow = networks("192.0.2.0/24") }, "ok"},
		"its networks and own": {"another network", func(k *models.APIKey) { k.IPAllow = networks("192.0.2.1/32", "10.0.0.0/8") }, "ok"},
		"its networks, wider":  {"another network", func(k *models.APIKey) { k.IPAllow = networks("192.0.2.0/24") }, "admin_required"},
		"another plan again":   {"another plan", func(k *models.APIKey) { k.Plan = "free" }, "ok"},
		"no overrides":         {"override", func(k *models.APIKey) { k.Overrides = []models.Override{} }, "admin_required"},
		"another reason":       {"override", func(k *models.APIKey) { k.Overrides[0].Reason = "x" }, "admin_required"},
		"override that lasts":  {"override", func(k *models.APIKey) { k.Overrides[0].ExpiresAt = nil }, "admin_required"},
	} {
		key := f.create(f.spec(func(k *models.NewKey) {
			for excess, e := range f.excesses() {
				all := test.target == "all" && (excess == "no expiry" || excess == "everywhere" || excess == "another plan" || excess == "override")
				if all || excess == test.target {
					e.change(k)
				}
			}
		}))
		if _, err := f.Change(f.ctx, key.ID, models.Precondition{}, test.change); outcome(err) != test.code {
			t.Errorf("%s: got %v; want %s", name, err, test.code)
		}
	}
	foreign := f.create(f.spec(func(k *models.NewKey) { k.Owner = "other" }))
	if _, err := f.Change(f.ctx, foreign.ID, models.Precondition{}, func(k *models.APIKey) { k.Overrides = []models.Override{f.override} }); err != nil {
		t.Errorf("overrides of another owner's key: got %v", err)
	}
}

// The operator takes no key outside of its fences, by rotating or resuming it. It
// may end or restrict every key whose scopes it holds.
func TestFences_take(t *testing.T) {
	f := newFences(t)
	for name, want := range map[string]struct{ rotate, resume string }{
		"within":          {"ok", "ok"},
		"own expiry":      {"ok", "ok"},
		"later expiry":    {"admin_required", "admin_required"},
		"no expiry":       {"admin_required", "admin_required"},
		"everywhere":      {"admin_required", "admin_required"},
		"another network": {"admin_required", "admin_required"},
		"another plan":    {"ok", "ok"}, // its owner has it
		"override":        {"ok", "ok"},
		"another owner":   {"admin_required", "ok"}, // the secret isn't shown
		"another scope":   {"scope_missing", "scope_missing"},
	} {
		change := f.excesses()[name].change
		rest := "ok"
		if name == "another scope" {
			rest = "scope_missing"
		}
		id := f.create(f.spec(change)).ID
		for _, step := range []struct {
			what, want string
			call       func() error
		}{
			{"reset", rest, func() error { return f.Reset(f.ctx, id, nil, func(context.Context) error { return nil }) }},
			{"suspend", rest, func() error { _, err := f.SetSuspended(f.ctx, id, true, models.Precondition{}); return err }},
			{"suspend", "ok", func() error { _, err := f.SetSuspended(f.cli, id, true, models.Precondition{}); return err }},
			{"resume", want.resume, func() error { _, err := f.SetSuspended(f.ctx, id, false, models.Precondition{}); return err }},
			{"resume", "ok", func() error { _, err := f.SetSuspended(f.cli, id, false, models.Precondition{}); return err }},
			{"rotate", want.rotate, func() error { _, err := f.Rotate(f.ctx, id, models.MaxGrace, models.Precondition{}); return err }},
			{"revoke", rest, func() error { _, err := f.Revoke(f.ctx, id, true, models.Precondition{}); return err }},
		} {
			if err := step.call(); outcome(err) != step.want {
				t.Errorf("%s %s: got %v; want %s", step.what, name, err, step.want)
			}
		}
	}
}

// A key keeps its fences when it rotates itself, and the grace period doesn't move
// its expiry.
func TestFences_self_rotation(t *testing.T) {
	f := newFences(t)
	rotation, err := f.Rotate(f.ctx, f.operator.ID, models.MaxGrace, models.Precondition{})
	if err != nil {
		t.Fatal(err)
	}
	if !rotation.Old.ExpiresAt.Equal(*f.operator.ExpiresAt) || !rotation.Key.ExpiresAt.Equal(*f.operator.ExpiresAt) || len(rotation.Key.IPAllow) != 2 {
		t.Errorf("got %+v; want the fences of %+v", rotation, f.operator)
	}
	// An admin gives the successor a later expiry; the stolen predecessor can't take it.
	f.exec(`UPDATE api_keys SET expires_at = NULL WHERE id = $1`, rotation.Key.ID)
	if _, err := f.Rotate(f.ctx, rotation.Key.ID, 0, models.Precondition{}); outcome(err) != "admin_required" {
		t.Errorf("the predecessor rotates its successor: got %v", err)
	}
}
