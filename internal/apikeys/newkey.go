package apikeys

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

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

// checkExpiries rejects expiry times in the past, of the key and of overrides,
// unless before has them already: sending back what is stored is no fault.
func checkExpiries(before, after models.APIKey, now time.Time) error {
	var faults models.Faults
	check := func(expiry *time.Time, stored bool, path ...string) {
		if expiry != nil && !stored && !expiry.After(now) {
			faults.Add("past", "must be in the future; to end a key now, revoke it", path...)
		}
	}
	check(after.ExpiresAt, before.ExpiresAt != nil && after.ExpiresAt != nil && before.ExpiresAt.Equal(*after.ExpiresAt), "expires_at")
	for i, o := range after.Overrides {
		stored := slices.ContainsFunc(before.Overrides, func(b models.Override) bool { return reflect.DeepEqual(b, o) })
		check(o.ExpiresAt, stored, "overrides", strconv.Itoa(i), "expires_at")
	}
	return faults.Err()
}

// maxMetadata is the largest number of metadata entries of a key. A merge patch
// is checked after merging, which only the store can do.
const maxMetadata = 50

// checkMetadata rejects too many metadata entries.
func checkMetadata(metadata map[string]string) error {
	var faults models.Faults
	if len(metadata) > maxMetadata {
		faults.Add("max_items", fmt.Sprintf("must have at most %d entries in all", maxMetadata), "metadata")
	}
	return faults.Err()
}
