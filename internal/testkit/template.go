package testkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"ratelimiter/migrations"
)

// templateLock is the advisory lock for creating the template: "testtmpl".
const templateLock int64 = 0x7465_7374_746d_706c

// template is the name of the migrated template once it exists; guarded by admin.
var template string

// clone creates a database from the template.
//
// FILE_COPY takes 8 ms and WAL_LOG, the default since Postgres 15, 20 ms: with fsync off, the
// checkpoints of copying cost less than logging each block. Postgres 14 always copies files.
func clone(ctx context.Context, conn *pgx.Conn, address, name string) error {
	if template == "" {
		current, err := templateName()
		if err == nil {
			err = ensureTemplate(ctx, conn, address, current)
		}
		if err != nil {
			return err
		}
		template = current
	}
	statement := "CREATE DATABASE " + name + " TEMPLATE " + template
	if conn.PgConn().ParameterStatus("server_version") >= "15" {
		statement += " STRATEGY FILE_COPY"
	}
	_, err := conn.Exec(ctx, statement)
	return err
}

// ensureTemplate creates the template unless another process did. A database that isn't marked as a
// template is the result of an interrupted attempt and is replaced.
func ensureTemplate(ctx context.Context, conn *pgx.Conn, address, name string) error {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return err
	}
	var complete bool
	err := conn.QueryRow(ctx, "SELECT datistemplate FROM pg_database WHERE datname = $1", name).Scan(&complete)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	if err == nil && !complete {
		err = fillTemplate(ctx, conn, address, name)
	}
	_, unlockErr := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", templateLock)
	return errors.Join(err, unlockErr)
}

// fillTemplate creates and migrates the database and marks it as a template.
func fillTemplate(ctx context.Context, conn *pgx.Conn, address, name string) error {
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := migrate(ctx, withDatabase(address, name)); err != nil {
		return err
	}
	if err := awaitDisconnect(ctx, conn, name); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "ALTER DATABASE "+name+" IS_TEMPLATE true")
	return err
}

// templateName contains a hash of the migrations, so that a changed migration gets a new template.
func templateName() (string, error) {
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, name := range names {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	return "template_" + hex.EncodeToString(sum.Sum(nil)[:8]), nil
}
