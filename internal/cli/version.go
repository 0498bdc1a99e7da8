package cli

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"text/tabwriter"
)

// version and commit are set by the build: -ldflags "-X ratelimiter/internal/cli.version=…".
var version, commit = "development", ""

// asset is a third-party file set that is embedded in the program.
type asset struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	License string `json:"license"` // SPDX identifier
	Folder  string `json:"folder"`  // in the source, with the license text
}

// assets are the embedded third-party files. Go modules are in the build
// information.
var assets = []asset{
	{"Swagger UI", "5.35.0", "Apache-2.0", "docs/swagger-ui"},
	{"ReDoc", "2.5.4", "MIT", "docs/redoc"},
	{"Noto Sans", "2.004", "OFL-1.1", "internal/invoice/fonts"},
	{"tz database", "2025c", "LicenseRef-Public-Domain", "ratelimit/tzdata"},
}

// versionCommand prints what is running.
type versionCommand struct {
	Licenses bool `help:"Also list the embedded files with their licenses, and the Go modules."`
	JSON     bool `help:"Print JSON."`
}

// module is a Go module that the program was built with.
type module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// buildVersion is what the command prints.
type buildVersion struct {
	Version string   `json:"version"`
	Commit  string   `json:"commit"` // unknown when not built in a checkout
	Go      string   `json:"go"`
	Assets  []asset  `json:"assets,omitempty"`
	Modules []module `json:"modules,omitempty"`
}

// Run prints version, commit and Go version.
func (v *versionCommand) Run(to *console) error {
	b := buildVersion{Version: version, Commit: cmp.Or(commit, "unknown")}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Go = info.GoVersion
		if v.Licenses {
			b.Assets = assets
			for _, m := range info.Deps {
				b.Modules = append(b.Modules, module{m.Path, m.Version})
			}
		}
	}
	if v.JSON {
		return printJSON(to.out, b)
	}
	table := tabwriter.NewWriter(to.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "ratelimiter\t%s\ncommit\t%s\nGo\t%s\n", b.Version, b.Commit, b.Go) // a tabwriter returns its error from Flush
	if v.Licenses {
		_, _ = fmt.Fprint(table, "\nEMBEDDED FILES\tVERSION\tLICENSE\n")
		for _, a := range b.Assets {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", a.Name, a.Version, a.License)
		}
		_, _ = fmt.Fprint(table, "\nGO MODULE\tVERSION\n")
		for _, m := range b.Modules {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", m.Path, m.Version)
		}
	}
	return table.Flush()
}
