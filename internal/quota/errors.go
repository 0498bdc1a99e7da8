package quota

import (
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// failure wraps an error of the database; see models.Failure.
func failure(doing string, err error) error {
	return models.Failure(doing, err, postgres.IsUnavailable(err))
}
