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

// unavailableStates are the SQLSTATEs and SQLSTATE classes that a later retry
// may resolve: lost connections, serialization failures and deadlocks, out of
// resources, shutdown or cancelled query, lock not available.
var unavailableStates = []string{"08", "40", "53", "57", "55P03"}

// ErrUnavailable reports that there is no server to connect to at the moment.
var ErrUnavailable = errors.New("the database is unavailable")

// IsUnavailable reports whether err, of a query or a transaction, means that
// the database can't do the work at the moment: it is unreachable, too slow, or
// rejected the work. All other errors are caused by the query or its data.
func IsUnavailable(err error) bool {
	var refusal *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTooManyRows), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &refusal):
		return slices.ContainsFunc(unavailableStates, func(state string) bool {
			return strings.HasPrefix(refusal.Code, state)
		})
	}
	var connecting *pgconn.ConnectError
	return errors.Is(err, ErrUnavailable) || errors.As(err, &connecting) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, context.DeadlineExceeded) || isNetwork(err)
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
func isUntranslatable(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == untranslatable
}
