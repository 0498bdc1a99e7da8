package testkit

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// The two ways to send a key, as the Authorize dialog of Swagger UI has them: the field to fill in.
const (
	BearerAuth = "#auth-bearer-value"
	APIKeyAuth = "#api_key_value"
)

// DocsAnswer is what Swagger UI shows after an operation ran.
type DocsAnswer struct {
	Status  string // "200"
	Headers string // one a line, names in lower case
	Body    string
}

// OpenDocs opens the Swagger UI of the server at baseURL and waits until it shows an operation.
func (b *Browser) OpenDocs(baseURL string) {
	b.t.Helper()
	b.Do(
		chromedp.Navigate(strings.TrimSuffix(baseURL, "/")+"/docs"),
		chromedp.WaitVisible(chromedp.CSS(".opblock")),
	)
}

// ShowsOperation reports whether the page shows the operation with this id.
func (b *Browser) ShowsOperation(operationID string) bool {
	return b.Has(operationBlock(operationID))
}

// operationBlock selects the part of the page that is about one operation.
func operationBlock(operationID string) chromedp.CSS {
	return chromedp.CSS(fmt.Sprintf("[id^='operations-'][id$='-%s']", operationID))
}

// Authorize enters a key in one field of the Authorize dialog: BearerAuth or APIKeyAuth.
func (b *Browser) Authorize(field, key string) {
	b.t.Helper()
	form := chromedp.CSS(fmt.Sprintf("form:has(%s)", field))
	b.Do(
		chromedp.Click(chromedp.CSS(".auth-wrapper .btn.authorize"), chromedp.NodeVisible),
		chromedp.SendKeys(chromedp.CSS(field), key, chromedp.NodeVisible),
		chromedp.Click(form+" button[type=submit]"),
		chromedp.WaitNotPresent(chromedp.CSS(field)), // the dialog hides a key that it has taken
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .btn-done"), chromedp.NodeVisible),
		chromedp.WaitNotPresent(chromedp.CSS(".dialog-ux")),
	)
}

// TryOperation executes the operation with this id, with its parameters as they stand, and returns what is shown. It opens
// the operation first where it is closed, and clears an earlier answer. The answer must have a body.
func (b *Browser) TryOperation(operationID string) DocsAnswer {
	b.t.Helper()
	block := operationBlock(operationID)
	live := block + " .live-responses-table"
	if !b.Has(block + ".is-open") {
		b.Do(chromedp.Click(block+" .opblock-summary-control", chromedp.NodeVisible))
	}
	if b.Has(live) {
		b.Do(chromedp.Click(block+" .btn-clear"), chromedp.WaitNotPresent(live))
	}
	b.Do(
		chromedp.WaitVisible(block+" .btn.execute"),
		chromedp.WaitNotPresent(block+" .opblock-loading-animation"), // until then Swagger UI loses what is executed
		chromedp.Click(block+" .btn.execute"),
	)
	return DocsAnswer{
		Status:  strings.TrimSpace(b.Text(live + " tbody .response-col_status")),
		Headers: b.Text(live + " pre:has(> .headerline)"),
		Body:    b.Text(live + " .highlight-code pre"),
	}
}

// Fill enters the value of a parameter of the operation with this id. It opens the operation first where it is closed.
func (b *Browser) Fill(operationID, parameter, value string) {
	b.t.Helper()
	block := operationBlock(operationID)
	if !b.Has(block + ".is-open") {
		b.Do(chromedp.Click(block+" .opblock-summary-control", chromedp.NodeVisible))
	}
	input := block + chromedp.CSS(fmt.Sprintf(" tr[data-param-name='%s'] input", parameter))
	b.Do(
		chromedp.WaitVisible(input),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).select()", input)), // typing replaces what stands there
		chromedp.SendKeys(input, value, chromedp.NodeVisible),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).blur()", input)), // or the page takes it up later
	)
}

// Download executes the operation with this id, whose answer Swagger UI offers as a file, and returns the file.
func (b *Browser) Download(operationID string) []byte {
	b.t.Helper()
	block := operationBlock(operationID)
	// What the page makes a link to can't be read from the link: connecting to it is against the page's policy.
	b.Do(chromedp.Evaluate[chromedp.Void](`
		const make = URL.createObjectURL;
		URL.createObjectURL = blob => {
			blob.arrayBuffer().then(bytes => { window.downloaded = btoa(String.fromCharCode(...new Uint8Array(bytes))); });
			return make(blob);
		}; undefined`))
	b.Do(
		chromedp.WaitVisible(block+" .btn.execute"),
		chromedp.WaitNotPresent(block+" .opblock-loading-animation"),
		chromedp.Click(block+" .btn.execute"),
		chromedp.WaitVisible(block+" .live-responses-table a[download]"),
		chromedp.Poll[chromedp.Void]("window.downloaded !== undefined"),
	)
	file, err := base64.StdEncoding.DecodeString(inBrowser(b, "download", chromedp.Evaluate[string]("window.downloaded")))
	if err != nil {
		b.t.Fatalf("download: %v", err)
	}
	return file
}
