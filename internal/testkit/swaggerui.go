package testkit

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// Input fields of the Authorize dialog of Swagger UI.
const (
	BearerAuth = "#auth-bearer-value"
	APIKeyAuth = "#api_key_value"
)

// DocsResponse is a response shown by Swagger UI.
type DocsResponse struct {
	Status  string // "200"
	Headers string // one per line, names in lower case
	Body    string
}

// OpenDocs opens the Swagger UI of the server at baseURL and waits for the first operation.
func (b *Browser) OpenDocs(baseURL string) {
	b.t.Helper()
	b.Do(
		chromedp.Navigate(strings.TrimSuffix(baseURL, "/")+"/docs"),
		chromedp.WaitVisible(chromedp.CSS(".opblock")),
	)
}

// ShowsOperation reports whether the page shows an operation.
func (b *Browser) ShowsOperation(operationID string) bool {
	return b.Has(operationBlock(operationID))
}

// operationBlock selects the block of one operation.
func operationBlock(operationID string) chromedp.CSS {
	return chromedp.CSS(fmt.Sprintf("[id^='operations-'][id$='-%s']", operationID))
}

// open expands the block of an operation.
func (b *Browser) open(block chromedp.CSS) {
	b.t.Helper()
	if !b.Has(block + ".is-open") {
		b.Do(chromedp.Click(block+" .opblock-summary-control", chromedp.NodeVisible))
	}
}

// execute clicks the Execute button of an open operation.
func (b *Browser) execute(block chromedp.CSS) {
	b.t.Helper()
	b.Do(
		chromedp.WaitVisible(block+" .btn.execute"),
		chromedp.WaitNotPresent(block+" .opblock-loading-animation"), // before that, Swagger UI ignores the click
		chromedp.Click(block+" .btn.execute"),
	)
}

// Authorize enters a key into a field of the Authorize dialog, BearerAuth or APIKeyAuth.
func (b *Browser) Authorize(field, key string) {
	b.t.Helper()
	form := chromedp.CSS(fmt.Sprintf("form:has(%s)", field))
	b.Do(
		chromedp.Click(chromedp.CSS(".auth-wrapper .btn.authorize"), chromedp.NodeVisible),
		chromedp.SendKeys(chromedp.CSS(field), key, chromedp.NodeVisible),
		chromedp.Click(form+" button[type=submit]"),
		chromedp.WaitNotPresent(chromedp.CSS(field)), // the dialog hides an accepted key
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .btn-done"), chromedp.NodeVisible),
		chromedp.WaitNotPresent(chromedp.CSS(".dialog-ux")),
	)
}

// TryOperation executes an operation with its current parameters and returns the response, which must have a body. It
// opens the operation if necessary and clears an earlier response.
func (b *Browser) TryOperation(operationID string) DocsResponse {
	b.t.Helper()
	block := operationBlock(operationID)
	live := block + " .live-responses-table"
	b.open(block)
	if b.Has(live) {
		b.Do(chromedp.Click(block+" .btn-clear"), chromedp.WaitNotPresent(live))
	}
	b.execute(block)
	return DocsResponse{
		Status:  strings.TrimSpace(b.Text(live + " tbody .response-col_status")),
		Headers: b.Text(live + " pre:has(> .headerline)"),
		Body:    b.Text(live + " .highlight-code pre"),
	}
}

// Fill enters the value of a parameter of an operation. It opens the operation if necessary.
func (b *Browser) Fill(operationID, parameter, value string) {
	b.t.Helper()
	block := operationBlock(operationID)
	b.open(block)
	input := block + chromedp.CSS(fmt.Sprintf(" tr[data-param-name='%s'] input", parameter))
	b.Do(
		chromedp.WaitVisible(input),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).select()", input)), // typing replaces the selected text
		chromedp.SendKeys(input, value, chromedp.NodeVisible),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).blur()", input)), // commits the value
	)
}

// Download executes an operation whose response Swagger UI offers as a file, and returns the file.
func (b *Browser) Download(operationID string) []byte {
	b.t.Helper()
	block := operationBlock(operationID)
	// The blob is captured on creation: the page's policy forbids fetching its URL.
	b.Do(chromedp.Evaluate[chromedp.Void](`
		const make = URL.createObjectURL;
		URL.createObjectURL = blob => {
			blob.arrayBuffer().then(bytes => { window.downloaded = btoa(String.fromCharCode(...new Uint8Array(bytes))); });
			return make(blob);
		}; undefined`))
	b.execute(block)
	b.Do(
		chromedp.WaitVisible(block+" .live-responses-table a[download]"),
		chromedp.Poll[chromedp.Void]("window.downloaded !== undefined"),
	)
	file, err := base64.StdEncoding.DecodeString(inBrowser(b, "download", chromedp.Evaluate[string]("window.downloaded")))
	if err != nil {
		b.t.Fatalf("download: %v", err)
	}
	return file
}
