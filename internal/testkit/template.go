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

// templateLock is the advisory lock under which the template is made: "testtmpl".
const templateLock int64 = 0x7465_7374_746d_706c

// template is the name of the migrated template, once this process has seen it; guarded by admin.
var template string

// clone makes a database from the template.
//
// FILE_COPY takes 8 ms here and WAL_LOG (the default since Postgres 15) 20: with fsync off, the
// checkpoints that copying needs cost less than logging each block. Postgres 14 knows only copying.
func clone(ctx context.Context, conn *pgx.Conn, address, name string) error {
	if template == "" {
		present, err := templateName()
		if err == nil {
			err = makeTemplate(ctx, conn, address, present)
		}
		if err != nil {
			return err
		}
		template = present
	}
	statement := "CREATE DATABASE " + name + " TEMPLATE " + template
	if conn.PgConn().ParameterStatus("server_version") >= "15" {
		statement += " STRATEGY FILE_COPY"
	}
	_, err := conn.Exec(ctx, statement)
	return err
}

// makeTemplate makes the template of that name, unless another process did. Being marked as a
// template says that it is whole: what an interrupted try left is made anew.
func makeTemplate(ctx context.Context, conn *pgx.Conn, address, name string) error {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return err
	}
	var whole bool
	err := conn.QueryRow(ctx, "SELECT datistemplate FROM pg_database WHERE datname = $1", name).Scan(&whole)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	if err == nil && !whole {
		err = fillTemplate(ctx, conn, address, name)
	}
	_, unlockErr := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", templateLock)
	return errors.Join(err, unlockErr)
}

// fillTemplate makes and migrates the database, and marks it.
func fillTemplate(ctx context.Context, conn *pgx.Conn, address, name string) error {
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := migrate(ctx, withDatabase(address, name)); err != nil {
		return err
	}
	if err := awaitNobody(ctx, conn, name); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "ALTER DATABASE "+name+" IS_TEMPLATE true")
	return err
}

// templateName is named after the migrations' text, so that a changed file makes a new template.
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
