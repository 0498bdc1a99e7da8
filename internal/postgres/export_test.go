package postgres

// MigrationLock is the key of the advisory lock that Migrate takes.
const MigrationLock = migrationLock
