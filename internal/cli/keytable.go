package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"ratelimiter/models"
)

// tableWidth is how many columns a terminal has at least.
const tableWidth = 80

// Widths of the columns of the table of keys. The name gets the rest.
const (
	idColumn     = 14 // 12 characters and a gap, as in the others
	statusColumn = 11
	planColumn   = 14 // at most
	timeColumn   = 10 // "364d ago"
)

// keyTable returns keys as a table of tableWidth. Longer texts are cut.
func keyTable(keys []models.APIKey, now time.Time) string {
	plan := len("PLAN")
	for _, key := range keys {
		plan = max(plan, utf8.RuneCountInString(key.Plan))
	}
	plan = min(plan+2, planColumn)
	name := tableWidth - idColumn - statusColumn - plan - 3*timeColumn
	var b strings.Builder
	row := func(columns ...string) {
		for i, width := range []int{idColumn, statusColumn, timeColumn, timeColumn, timeColumn, plan} {
			fmt.Fprintf(&b, "%-*s", width, cut(columns[i], width-2))
		}
		b.WriteString(cut(columns[6], name) + "\n")
	}
	row("ID", "STATUS", "CREATED", "USED", "EXPIRES", "PLAN", "NAME")
	for _, key := range keys {
		row(key.ID, string(key.Status(now)), relative(&key.CreatedAt, now), relative(key.LastUsedAt, now), relative(key.ExpiresAt, now), key.Plan, printable(key.Name))
	}
	return b.String()
}

// cut returns a text of at most width characters.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// relative returns how long ago a time was, or how far ahead it is, in its largest
// unit. nil is never.
func relative(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	d := now.Sub(*at)
	short := shortDuration(d.Abs())
	if d < 0 {
		return "in " + short
	}
	return short + " ago"
}

// shortDuration returns a duration in whole units, the largest that fits.
func shortDuration(d time.Duration) string {
	const day = 24 * time.Hour
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"y", 365 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := d / unit.length; n > 0 {
			return fmt.Sprintf("%d%s", n, unit.name)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
