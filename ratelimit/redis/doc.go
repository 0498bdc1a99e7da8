// Package redis implements a ratelimit.Store in Redis 7 or newer, or Valkey: a
// single server, a server that Sentinel watches, or a Cluster. Several processes
// share its counters.
//
// An operation is one call of a function in the server, written in Lua, so that it
// is atomic over all its counters. The functions in folder lua are the pure
// functions of package ratelimit. Lua's numbers are doubles; times are in whole
// microseconds and no operation rounds, so that both decide alike.
//
// The server's clock decides. Every key expires a few seconds after its counters
// equal fresh ones. A call whose answer is lost is not repeated: what it may have
// charged is spent.
package redis
