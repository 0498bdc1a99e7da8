package testkit

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserStepTimeout bounds each step in the browser: a page that never shows what is waited for fails the test.
const browserStepTimeout = 30 * time.Second

// Browser is a headless Chromium with one page and an empty profile. It notes everything that goes wrong in the page.
// One goroutine may use it.
type Browser struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex // the browser's reader writes below it
	faults []string
	hosts  []string
}

// NewBrowser starts Chromium and ends it with the test. Without Chromium the test fails when REQUIRE_REAL_SERVICES is 1,
// and is skipped otherwise.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findChromium(t)),
		chromedp.NoSandbox, // Chromium refuses to start as root with its sandbox
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 1400),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		stop()
		stopAllocator()
	})
	b := &Browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return b
}

func findChromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "NOT RUN: this test needs Chromium; scripts/install-chromium.sh installs it"
	if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// note keeps what the browser reports as wrong: errors in the console and the log, scripts that failed, and violations of
// the Content-Security-Policy, which stand in the log under "security".
func (b *Browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch event := event.(type) {
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError || event.Entry.Source == log.EntrySourceSecurity {
			b.faults = append(b.faults, fmt.Sprintf("%s: %s (%s)", event.Entry.Source, event.Entry.Text, event.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, "script: "+event.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if event.Type == "error" {
			b.faults = append(b.faults, "console: "+consoleText(event.Args))
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(event.Request.URL)
		if err == nil && u.Host != "" && !slices.Contains(b.hosts, u.Host) {
			b.hosts = append(b.hosts, u.Host)
		}
	}
}

func consoleText(args []*runtime.RemoteObject) string {
	var words []string
	for _, arg := range args {
		words = append(words, cmp.Or(arg.Description, string(arg.Value)))
	}
	return strings.Join(words, " ")
}

// Faults returns what has gone wrong in the page so far.
func (b *Browser) Faults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.faults)
}

// Hosts returns every host, with its port, that the page has asked for something.
func (b *Browser) Hosts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.hosts)
}

// Do performs steps in order and fails the test when one can't be performed in time.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for i, step := range steps {
		inBrowser(b, fmt.Sprintf("step %d of %d", i+1, len(steps)), step)
	}
}

// Text returns the visible text of the first element that the selector matches, once there is one.
func (b *Browser) Text(selector chromedp.CSS) string {
	b.t.Helper()
	return inBrowser(b, "text of "+string(selector), chromedp.Text(selector, chromedp.NodeVisible))
}

// Has reports whether an element that the selector matches is there now.
func (b *Browser) Has(selector chromedp.CSS) bool {
	b.t.Helper()
	return inBrowser(b, "look for "+string(selector), chromedp.Evaluate[bool](fmt.Sprintf("document.querySelector(%q) !== null", selector)))
}

// PreferColours makes the page believe that its reader prefers a scheme, light or dark.
func (b *Browser) PreferColours(scheme string) {
	b.t.Helper()
	feature := &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{feature}}
	b.Do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, params)
		return chromedp.Void{}, err
	})
}

// Screenshot writes what the window shows as NAME.png into the folder SCREENSHOTS, when that variable is set.
func (b *Browser) Screenshot(name string) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, browserStepTimeout)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Errorf("screenshot: %v", err)
	}
}

// inBrowser performs one action within browserStepTimeout, or fails the test.
func inBrowser[T any](b *Browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserStepTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.Screenshot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
		b.t.Fatalf("browser: %s: %v; noted so far: %q", what, err, b.Faults())
	}
	return value
}
