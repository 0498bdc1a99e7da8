package apikeys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// operatorsPlan is the default plan of admin keys.
const operatorsPlan = "internal"

func setDefaults(n *models.NewKey) {
	if n.Plan == "" {
		n.Plan = models.DefaultPlan
		if n.Admin {
			n.Plan = operatorsPlan
		}
	}
	if len(n.Scopes) == 0 {
		n.Scopes = models.DefaultScopes()
		if n.Admin {
			n.Scopes = []models.Scope{models.ScopeAdmin}
		}
	}
	if n.Owner == "" {
		n.Owner = "own_" + randomBase62(idLength)
	}
	if n.IPAllow == nil {
		n.IPAllow = []netip.Prefix{}
	}
	if n.Metadata == nil {
		n.Metadata = map[string]string{}
	}
	if n.Overrides == nil {
		n.Overrides = []models.Override{}
	}
}

// check returns an error of models.KindInvalid with every fault of after, a new
// key (before is the zero APIKey) or a changed one. It locks the plan until tx
// ends. Errors also: the database's.
func (s *Store) check(ctx context.Context, tx pgx.Tx, before, after models.APIKey) error {
	var faults models.Faults
	checkReadOnly(&faults, before, after)
	checkMetadata(&faults, before.Metadata, after.Metadata)
	checkExpiries(&faults, before, after, time.Now())
	err := s.quotas.CheckQuota(ctx, tx, after.Plan, after.Overrides)
	if invalid, ok := errors.AsType[*models.Error](err); ok && invalid.Kind == models.KindInvalid {
		for _, fault := range invalid.Faults {
			faults.AddFault(fault)
		}
		err = nil
	}
	return cmp.Or(err, faults.Err())
}

// checkReadOnly adds a fault for everything that changed and never may.
func checkReadOnly(faults *models.Faults, before, after models.APIKey) {
	reject := func(changed bool, name string) {
		if changed {
			faults.Add("read_only", "can't be changed", name)
		}
	}
	reject(after.ID != before.ID, "id")
	reject(after.Subject != before.Subject, "subject")
	reject(!after.CreatedAt.Equal(before.CreatedAt), "created_at")
}

// checkExpiries adds faults for expiry times in the past, of the key and of
// overrides, unless before has them already: sending back what is stored is no
// fault.
func checkExpiries(faults *models.Faults, before, after models.APIKey, now time.Time) {
	if past(after.ExpiresAt, before.ExpiresAt, now) {
		faults.Add("past", "must be in the future; to end a key now, revoke it", "expires_at")
	}
	for i, o := range after.Overrides {
		var stored *time.Time
		if at := slices.IndexFunc(before.Overrides, func(b models.Override) bool { return b.Policy.Name == o.Policy.Name }); at >= 0 {
			stored = before.Overrides[at].ExpiresAt
		}
		if past(o.ExpiresAt, stored, now) {
			faults.Add("past", "must be in the future", "overrides", strconv.Itoa(i), "expires_at")
		}
	}
}

// past reports whether an expiry time isn't in the future and differs from the
// stored one.
func past(expiry, stored *time.Time, now time.Time) bool {
	return expiry != nil && !expiry.After(now) && (stored == nil || !stored.Equal(*expiry))
}

// Bounds of a key's metadata. With the largest allow-list and overrides, a key
// of this size still fits into a request, so that it can be sent back. A merge
// patch is checked after merging, which only the store can do.
const (
	maxMetadata      = 50        // entries
	maxMetadataBytes = 16 * 1024 // of names and values
)

// checkMetadata adds a fault for changed metadata that exceeds the bounds.
func checkMetadata(faults *models.Faults, before, after map[string]string) {
	if maps.Equal(before, after) {
		return
	}
	size := 0
	for name, value := range after {
		size += len(name) + len(value)
	}
	if len(after) > maxMetadata {
		faults.Add("max_items", fmt.Sprintf("must have at most %d entries in all", maxMetadata), "metadata")
	}
	if size > maxMetadataBytes {
		faults.Add("max_length", fmt.Sprintf("must have at most %d bytes in all names and values", maxMetadataBytes), "metadata")
	}
}
