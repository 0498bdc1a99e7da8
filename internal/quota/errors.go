package quota

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// untranslatable is Postgres's SQLSTATE for a text with NUL or invalid UTF-8,
// which no id and no name has.
const untranslatable = "22021"

func isUntranslatable(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == untranslatable
}

// failure wraps an error of the database, as models.ErrUnavailable where trying
// again later helps. Errors that are told to the caller stay as they are.
func failure(doing string, err error) error {
	var status *models.StatusError
	var invalid *models.InvalidError
	switch {
	case err == nil, errors.As(err, &status), errors.As(err, &invalid), errors.Is(err, models.ErrUnavailable), errors.Is(err, models.ErrNotFound):
		return err
	case postgres.IsUnavailable(err):
		return fmt.Errorf("%w: %s: %w", models.ErrUnavailable, doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
