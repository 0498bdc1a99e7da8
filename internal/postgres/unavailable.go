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

// unavailableStates are the SQLSTATEs, and the classes of them, by which the
// server itself says that trying again later helps: lost connections, rolled
// back for others' sake, out of resources, shutting down, a cancelled query.
var unavailableStates = []string{"08", "40", "53", "57", "55P03"}

// IsUnavailable reports whether err, of a query or a transaction, says that the
// database could not do the work now: it can't be reached, it answers too
// slowly, or it turned the work away. All other errors are faults of the query
// or of its data.
func IsUnavailable(err error) bool {
	var answered *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTooManyRows), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &answered):
		return slices.ContainsFunc(unavailableStates, func(state string) bool {
			return strings.HasPrefix(answered.Code, state)
		})
	}
	var connecting *pgconn.ConnectError
	return errors.As(err, &connecting) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, context.DeadlineExceeded) || isNetwork(err)
}

// isNetwork reports whether a connection broke: pgx passes on what the network
// said, or that the other side ended in the middle of a message.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// untranslatable is the SQLSTATE for a text with NUL or invalid UTF-8.
const untranslatable = "22021"

// isUntranslatable reports whether a query failed because a text in it can't be
// stored, and so can't be the name of anything that is.
func isUntranslatable(err error) bool {
	var answered *pgconn.PgError
	return errors.As(err, &answered) && answered.Code == untranslatable
}
