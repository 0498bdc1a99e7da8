package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ConnectionError reports a database that can't be used, in one line without
// password.
type ConnectionError struct {
	Database string // its setting, such as DATABASE_URL, and its address
	Err      error
}

// NewConnectionError returns a *ConnectionError of a pool on the database in a
// setting, or nil if err is nil.
func NewConnectionError(setting string, pool *pgxpool.Pool, err error) error {
	if err == nil {
		return nil
	}
	conn := pool.Config().ConnConfig
	return &ConnectionError{Database: fmt.Sprintf("%s: %s:%d", setting, conn.Host, conn.Port), Err: err}
}

// Error names the database and the cause.
func (e *ConnectionError) Error() string { return e.Database + ": " + Cause(e.Err) }

// Unwrap returns the error with all its context.
func (e *ConnectionError) Unwrap() error { return e.Err }

// Cause returns the text of the innermost error in one line, without the context
// that the reader has anyway. Of several errors it is the last.
func Cause(err error) string {
	if pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	for {
		next := errors.Unwrap(err)
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			if list := several.Unwrap(); len(list) > 0 {
				next = list[len(list)-1]
			}
		}
		if next == nil {
			return strings.Join(strings.Fields(err.Error()), " ")
		}
		err = next
	}
}
