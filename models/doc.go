// Package models holds the domain types and rules of the service: API keys,
// scopes, plans, products, orders and their state machine, domain errors, and
// the accessors of request state in a context.
//
// It does no I/O. Services under internal/ store the types, and package
// handlers serves them.
package models
