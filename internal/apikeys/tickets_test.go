package apikeys

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func TestTickets(t *testing.T) {
	db := testkit.Database(t)
	tickets := NewTickets(db)
	key := &models.APIKey{ID: "k", Owner: "o"}
	if _, err := db.Exec(t.Context(), `INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		VALUES ('k', 'k', 'free', 'o', 'k', '{}', sha256('k'), 'v1')`); err != nil {
		t.Fatal(err)
	}
	issue := func() models.Ticket {
		t.Helper()
		ticket, err := tickets.Issue(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	t.Run("opens once", func(t *testing.T) {
		ticket := issue()
		if left := time.Until(ticket.ExpiresAt); left > ticketLifetime || left < ticketLifetime/2 {
			t.Errorf("expires in %s; want %s", left, ticketLifetime)
		}
		var opened atomic.Int32
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				switch id, err := tickets.Redeem(t.Context(), ticket.Ticket); {
				case err == nil && id == "k":
					opened.Add(1)
				case !errors.Is(err, models.ErrInvalidKey):
					t.Errorf("got key %q, error %v", id, err)
				}
			})
		}
		callers.Wait()
		if opened.Load() != 1 {
			t.Errorf("the ticket opened %d times", opened.Load())
		}
	})
	t.Run("not once it has expired", func(t *testing.T) {
		ticket := issue()
		if _, err := db.Exec(t.Context(), `UPDATE tickets SET expires_at = now()`); err != nil {
			t.Fatal(err)
		}
		if _, err := tickets.Redeem(t.Context(), ticket.Ticket); !errors.Is(err, models.ErrInvalidKey) {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("not once its key has another owner", func(t *testing.T) {
		ticket := issue()
		if _, err := db.Exec(t.Context(), `UPDATE api_keys SET owner = 'other'`); err != nil {
			t.Fatal(err)
		}
		if _, err := tickets.Redeem(t.Context(), ticket.Ticket); !errors.Is(err, models.ErrInvalidKey) {
			t.Errorf("got error %v", err)
		}
	})
	for _, unknown := range []string{"", "tkt_", "tkt_x", "rl_live_x", issue().Ticket + "x"} {
		if _, err := tickets.Redeem(t.Context(), unknown); !errors.Is(err, models.ErrInvalidKey) {
			t.Errorf("%q: got error %v", unknown, err)
		}
	}
	t.Run("are stored as hashes", func(t *testing.T) {
		ticket := issue()
		var found bool
		err := db.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM tickets t WHERE t::text LIKE '%' || $1 || '%')`, ticket.Ticket).Scan(&found)
		if err != nil || found {
			t.Errorf("found %t, error %v", found, err)
		}
	})
}

func TestTickets_bound(t *testing.T) {
	db := testkit.Database(t)
	tickets := NewTickets(db)
	key := &models.APIKey{ID: "k", Owner: "o"}
	var issued, refused atomic.Int32
	var callers sync.WaitGroup
	for range 8 { // at once
		callers.Go(func() {
			for range maxTickets / 4 {
				_, err := tickets.Issue(t.Context(), key)
				switch limited, _ := errors.AsType[*models.Error](err); {
				case err == nil:
					issued.Add(1)
				case limited != nil && limited.Code == "too_many_tickets" && limited.RetryAfter > 0 && limited.RetryAfter <= ticketLifetime:
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if issued.Load() != maxTickets || refused.Load() != maxTickets {
		t.Errorf("%d tickets were issued and %d refused; want %d each", issued.Load(), refused.Load(), maxTickets)
	}
	if _, err := tickets.Issue(t.Context(), &models.APIKey{ID: "other", Owner: "other"}); err != nil {
		t.Errorf("another owner: %v", err)
	}
	if _, err := db.Exec(t.Context(), `UPDATE tickets SET expires_at = now() WHERE owner = 'o'`); err != nil {
		t.Fatal(err)
	}
	if _, err := tickets.Issue(t.Context(), key); err != nil {
		t.Errorf("after the others have expired: %v", err)
	}
	if more, err := tickets.Prune(t.Context()); more || err != nil {
		t.Errorf("Prune = %t, %v", more, err)
	}
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM tickets`).Scan(&left); err != nil || left != 2 {
		t.Errorf("%d tickets are left, error %v; want the 2 that can be used", left, err)
	}
}
