package queue

import "time"

// SetUnknown sets how long messages of unknown topics wait.
func (w *Worker) SetUnknown(delay, limit time.Duration) {
	w.dispatcher.unknownDelay, w.dispatcher.unknownLimit = delay, limit
}

// ReasonOf returns an error as it is recorded.
func ReasonOf(err error) string { return reasonOf(err) }
