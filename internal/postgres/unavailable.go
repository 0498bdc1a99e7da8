package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs of a database that can't do the work: a standby or a read-only
// database, and one without this program's tables.
const (
	readOnly       = "25006"
	undefinedTable = "42P01"
	diskFull       = "53100"
)

// unavailableStates are the SQLSTATEs and SQLSTATE classes that a later retry
// may resolve: lost connections, serialization failures and deadlocks, out of
// resources, system errors, shutdown or cancelled query, objects in use, and
// after a failover a database that is read-only or empty.
var unavailableStates = []string{"08", readOnly, "3F000", "40", undefinedTable, "53", "55", "57", "58"}

// ErrUnavailable reports that there is no server to connect to at the moment.
var ErrUnavailable = errors.New("the database is unavailable")

// IsUnavailable reports whether err, of a query or a transaction, means that
// the database can't do the work at the moment: it is unreachable, too slow, or
// rejected the work. All other errors are caused by the query or its data.
func IsUnavailable(err error) bool {
	switch {
	case err == nil, errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTooManyRows), errors.Is(err, context.Canceled):
		return false
	case sqlState(err) != "":
		return hasState(err, unavailableStates...)
	}
	var connecting *pgconn.ConnectError
	return errors.Is(err, ErrUnavailable) || errors.As(err, &connecting) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, context.DeadlineExceeded) || isNetwork(err)
}

// IsPermanent reports whether a write fails however often it is retried: its
// data is invalid, or can't be encoded.
func IsPermanent(err error) bool {
	if sqlState(err) != "" {
		return hasState(err, "22", "23")
	}
	return err != nil && !errors.Is(err, context.Canceled) && !IsUnavailable(err)
}

// IsDiskFull reports whether a write failed because the database has no space.
func IsDiskFull(err error) bool { return hasState(err, diskFull) }

// sqlState returns the SQLSTATE of an error of Postgres, otherwise "".
func sqlState(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code
	}
	return ""
}

// hasState reports whether err has one of these SQLSTATEs or classes.
func hasState(err error, states ...string) bool {
	code := sqlState(err)
	return slices.ContainsFunc(states, func(state string) bool { return strings.HasPrefix(code, state) })
}

// isNetwork reports whether a connection broke. pgx returns the error of the
// network, or io.ErrUnexpectedEOF in the middle of a message.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// untranslatable is the SQLSTATE of a text with NUL or invalid UTF-8.
const untranslatable = "22021"

// isUntranslatable reports whether a query failed because one of its texts
// can't be stored. Such a text can't be the name of anything that is stored.
func isUntranslatable(err error) bool { return hasState(err, untranslatable) }
