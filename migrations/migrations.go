// Package migrations holds the numbered SQL files that make the database, in goose's format. They
// are applied in order by postgres.Migrate, and never changed once they were released.
package migrations

import "embed"

// FS is the SQL files.
//
//go:embed *.sql
var FS embed.FS
