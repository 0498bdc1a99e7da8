package redis

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua
var sources embed.FS

// parts are the files of the library, in the order of their dependencies.
var parts = []string{
	"arith", "level", "token_bucket", "leaky_bucket", "fixed_window", "calendar", "sliding_window", "sliding_log", "concurrency",
	"record", "operations",
}

// library is the function that servers need, with all that it calls. Its name includes
// a hash of its text, so that several versions of this package can share a server.
type library struct{ name, text string }

var lib = newLibrary()

func newLibrary() library {
	var body strings.Builder
	for _, part := range parts {
		text, err := sources.ReadFile("lua/" + part + ".lua")
		if err != nil {
			panic(err) // the files are embedded
		}
		body.Write(text)
	}
	hash := sha256.Sum256([]byte(body.String()))
	name := "ratelimit_" + hex.EncodeToString(hash[:4])
	return library{name: name, text: fmt.Sprintf("#!lua name=%s\n%sredis.register_function('%s', run)\n", name, body.String(), name)}
}

// load loads the library into every server of the client. It succeeds if one server
// has it: replicas get it from their primaries, and a server that was unreachable
// will report that it lacks it.
func (l *library) load(ctx context.Context, client rueidis.Client) error {
	var failures error
	loaded := false
	for _, node := range client.Nodes() {
		err := node.Do(ctx, node.B().FunctionLoad().FunctionCode(l.text).Build()).Error()
		if failure, ok := rueidis.IsRedisErr(err); ok && strings.Contains(failure.Error(), "already exists") {
			err = nil
		}
		loaded = loaded || err == nil
		failures = errors.Join(failures, err)
	}
	if loaded {
		return nil
	}
	return failures
}

// lacksLibrary reports whether a server has refused a call because it doesn't have
// the library: it was restarted or flushed, or is new in its cluster. The call had
// no effect.
func lacksLibrary(err error) bool {
	failure, ok := rueidis.IsRedisErr(err)
	return ok && strings.Contains(failure.Error(), "Function not found")
}
