package pgbin

import (
	"fmt"
	"strings"
)

// NotFoundError says that no installation was found or could be got: each way, why it led nowhere,
// and what the reader can do about it.
type NotFoundError struct {
	Want Want
	// Why each way led nowhere.
	PgConfig, Folders, Fetch, Package error
}

// Error lists every way to get a Postgres, one a line.
func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no %s found to run; any one of these helps:\n", e.Want.version())
	if e.Want.Major == 0 {
		fmt.Fprintf(&b, "  - set DATABASE_URL to a server that runs already, %s\n", e.Want.version())
	} else {
		fmt.Fprintf(&b, "  - the data here is of Postgres %d: set DATA_DIR to another folder to start empty\n", e.Want.Major)
	}
	fmt.Fprintf(&b, "  - set PG_BINDIR to a folder with postgres and initdb\n")
	fmt.Fprintf(&b, "  - have pg_config name such a folder (%s)\n", oneLine(e.PgConfig))
	fmt.Fprintf(&b, "  - install it: %s (%s)\n", e.packages(), oneLine(e.Folders))
	fmt.Fprintf(&b, "  - let it be downloaded (%s)\n", oneLine(e.Fetch))
	fmt.Fprintf(&b, "  - on Debian or Ubuntu, run this as root once, which installs it (%s)", oneLine(e.Package))
	return b.String()
}

// packages names the commands that install Postgres where they are known.
func (e *NotFoundError) packages() string {
	if m := e.Want.Major; m != 0 {
		return fmt.Sprintf(`"apt-get install postgresql-%d", "dnf install postgresql%d-server", "brew install postgresql@%d"`, m, m, m)
	}
	return `"apt-get install postgresql", "dnf install postgresql-server", "brew install postgresql@17", "apk add postgresql"`
}

// oneLine puts an error of several lines on one.
func oneLine(err error) string {
	if err == nil {
		return "not tried"
	}
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}
