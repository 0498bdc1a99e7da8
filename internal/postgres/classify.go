package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"ratelimiter/models"
)

// Classify maps an error of the database to a domain error; op says what was
// being done. No rows, and a text that Postgres can't store, become
// models.ErrNotFound; a database that can't do the work now becomes
// models.ErrUnavailable. Domain errors and nil are returned unchanged, and all
// other errors are wrapped.
func Classify(op string, err error) error {
	switch {
	case err == nil, models.IsError(err):
		return err
	case errors.Is(err, pgx.ErrNoRows), isUntranslatable(err):
		return fmt.Errorf("%s: %w", op, models.ErrNotFound)
	case IsUnavailable(err):
		return fmt.Errorf("%w: %s: %w", models.ErrUnavailable, op, err)
	default:
		return fmt.Errorf("%s: %w", op, err)
	}
}

// IsDuplicate reports whether err is a violation of the unique index or constraint
// with this name.
func IsDuplicate(err error, constraint string) bool {
	const uniqueViolation = "23505"
	violation, ok := errors.AsType[*pgconn.PgError](err)
	return ok && violation.Code == uniqueViolation && violation.ConstraintName == constraint
}
