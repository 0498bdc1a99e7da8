// Package models holds the nouns of the service and their rules: API keys and
// scopes, products, orders and their state machine, problems, sentinel errors,
// and the accessors of what the middleware knows of a request.
//
// It imports the standard library only and does no I/O: how a noun is stored is
// the business of the services under internal/, how it is served that of
// handlers.
package models
