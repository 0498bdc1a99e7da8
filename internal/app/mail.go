package app

import (
	"net/mail"
	"path/filepath"

	"ratelimiter/internal/config"
	"ratelimiter/internal/workers"
)

// devSender is the sender of emails that nobody gets.
var devSender = &mail.Address{Address: "shop@localhost"}

// newMailer returns what sends emails, and the sender: to SMTP_URL, in dev mode without
// it to files, otherwise not at all.
func newMailer(cfg *config.Config, dev bool) (workers.Mailer, *mail.Address) {
	switch {
	case cfg.SMTP != nil:
		return NewSMTP(cfg.SMTP), cfg.SMTP.From
	case dev:
		return workers.MailFolder(filepath.Join(cfg.DataDir, "mail")), devSender
	default:
		return workers.NoMail{}, devSender
	}
}

// NewSMTP returns a client of the mail server.
func NewSMTP(s *config.SMTP) *workers.SMTP {
	return &workers.SMTP{Host: s.Host, Port: s.Port, User: s.User, Password: s.Password, ImplicitTLS: s.ImplicitTLS, Plaintext: s.Plaintext}
}
