// Package e2e tests the whole server over HTTP, on a real Postgres.
package e2e
