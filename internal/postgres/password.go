package postgres

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// passwordPattern is what rand.Text makes. Anything else in the file was put there by hand, and
// must not reach an SQL statement.
var passwordPattern = regexp.MustCompile(`^[A-Z2-7]{26,}$`)

// passwordPath is the file that holds the private Postgres's password, mode 0600.
func passwordPath(dataDir string) string { return filepath.Join(dataDir, "postgres.password") }

// readPassword reads the password; the error is fs.ErrNotExist when there is none yet.
func readPassword(dataDir string) (string, error) {
	text, err := os.ReadFile(passwordPath(dataDir))
	if err != nil {
		return "", fmt.Errorf("read the password: %w%s", err, adviceFor(err.Error()))
	}
	password := strings.TrimSpace(string(text))
	if !passwordPattern.MatchString(password) {
		return "", fmt.Errorf("%s does not hold a password made by this program: remove it to have a new one set", passwordPath(dataDir))
	}
	return password, nil
}

// savePassword keeps the password: whole or not at all.
func savePassword(dataDir, password string) error {
	temporary := passwordPath(dataDir) + ".new"
	err := os.WriteFile(temporary, []byte(password+"\n"), 0o600)
	if err == nil {
		err = os.Rename(temporary, passwordPath(dataDir))
	}
	if err != nil {
		return fmt.Errorf("keep the password: %w%s", err, adviceFor(err.Error()))
	}
	return nil
}

// connectionURL is the address of the product's database on the private Postgres.
func connectionURL(port int, password string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password),
		Host: loopback + ":" + strconv.Itoa(port), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}
