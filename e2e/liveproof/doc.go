// Package liveproof has the proof that clients who follow orders get every event once
// and in order while servers are killed, and the measurements of the four ways to
// follow orders. It consists of tests.
package liveproof
