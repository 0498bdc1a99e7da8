package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"ratelimiter/internal/app"
)

// checkMail never fails: serve starts without a mail server.
func (d *diagnosis) checkMail(ctx context.Context) finding {
	switch s := d.cfg.SMTP; {
	case s == nil && d.dev:
		return passed("dev mode writes emails to %s", filepath.Join(d.cfg.DataDir, "mail"))
	case s == nil:
		return warning("SMTP_URL is not set: emails about orders wait", "Set SMTP_URL, or SMTP_URL_FILE to a file that contains it, to the URL of a mail server.")
	default:
		if err := app.NewSMTP(s).Check(ctx); err != nil {
			return warning(fmt.Sprintf("SMTP_URL: %s:%d: %s", s.Host, s.Port, oneLine(err)), "Emails about orders are retried, and then become dead letters. Check host, port, TLS, account and firewall.")
		}
		return passed("the mail server at %s:%d answers", s.Host, s.Port)
	}
}
