package client

// counter follows one policy's count at the server, on the safe side: what it
// says is used is never less than what the server counts, as long as every
// charge is told. Requests under way are counted by its ledger.
//
// The server decides a request somewhere between its sending and its answer.
// So a charge is told when the answer comes, and counts from then on, which is
// as late as it can be; and what an answer says of the count holds at the
// latest from then on, for without charges a count only falls.
type counter interface {
	// used is how many units count at now, rounded up.
	used(now instant) int64
	// charge counts units from now on.
	charge(now instant, units int64)
	// room is the first instant, now or later, at which no more than most
	// units count if none is charged; never when that isn't known.
	room(now instant, most int64) instant
	// least is how many units counted at the server, at least, when it
	// decided an answer.
	least(o *observation) int64
	// observe learns from an answer; charge was told before.
	observe(o *observation)
}

// observation is what an answer says of a policy.
type observation struct {
	sent, answered instant // the decision was made between them
	capacity       int64
	remaining      int64
	// The reset was at least resetMin and at most resetMax after the
	// decision; they differ where whole seconds were told.
	resetMin, resetMax instant
	// during is how many units of other requests were answered between sent
	// and answered: the answer may or may not count them.
	during int64
}

// most is how many units count at answered, at most, those under way apart.
func (o *observation) most() int64 { return o.capacity - o.remaining + o.during }

// drift is by which part of itself a time is taken longer, since the server's
// clock and this one don't run at quite the same rate: a crystal is off by up
// to 100 millionths, and there are two.
const drift = 5000

// longer is d with the drift.
func longer(d instant) instant { return d + d/drift }
