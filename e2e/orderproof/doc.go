// Package orderproof has the proof that orders are processed rightly while the
// processes that process them are killed. It consists of tests.
package orderproof
