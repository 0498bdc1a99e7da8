package testkit

import (
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// OpenReference opens the ReDoc page of the server at baseURL and waits for the first operation.
func (b *Browser) OpenReference(baseURL string) {
	b.t.Helper()
	b.Do(
		chromedp.Navigate(strings.TrimSuffix(baseURL, "/")+"/redoc"),
		chromedp.WaitVisible(chromedp.CSS("[id^='tag/'][id*='/operation/'], [id^='operation/']")),
	)
}

// ReferenceShows reports whether the ReDoc page shows an operation.
func (b *Browser) ReferenceShows(operationID string) bool {
	b.t.Helper()
	return b.Has(chromedp.CSS(fmt.Sprintf("[id$='operation/%s']", operationID)))
}
