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

// browserStepTimeout bounds each step in the browser.
const browserStepTimeout = 30 * time.Second

// Browser is a headless Chromium with one page and an empty profile. It records the errors of the page. It is not safe for
// concurrent use.
type Browser struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex // guards the fields below against chromedp's reader
	faults []string
	hosts  []string
}

// NewBrowser starts Chromium and stops it at the end of the test. If Chromium is not installed, the test fails when
// REQUIRE_REAL_SERVICES is 1 and is skipped otherwise.
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
			t.Errorf("stop the browser: %v", err)
		}
		stop()
		stopAllocator()
	})
	b := &Browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.record); err != nil {
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

// record records hosts and errors: of the console and the log, exceptions, and violations of the Content-Security-Policy,
// which are log entries of source "security".
func (b *Browser) record(event any) {
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

// Faults returns the errors of the page so far.
func (b *Browser) Faults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.faults)
}

// Hosts returns the hosts, with ports, that the page has sent requests to.
func (b *Browser) Hosts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.hosts)
}

// Do performs steps in order. A step that fails or times out fails the test.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for i, step := range steps {
		inBrowser(b, fmt.Sprintf("step %d of %d", i+1, len(steps)), step)
	}
}

// Text waits for an element that matches selector and returns its visible text.
func (b *Browser) Text(selector chromedp.CSS) string {
	b.t.Helper()
	return inBrowser(b, "text of "+string(selector), chromedp.Text(selector, chromedp.NodeVisible))
}

// Has reports whether an element matches selector now.
func (b *Browser) Has(selector chromedp.CSS) bool {
	b.t.Helper()
	return inBrowser(b, "look for "+string(selector), chromedp.Evaluate[bool](fmt.Sprintf("document.querySelector(%q) !== null", selector)))
}

// PreferColours sets the preferred colour scheme, light or dark.
func (b *Browser) PreferColours(scheme string) {
	b.t.Helper()
	feature := &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{feature}}
	b.Do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, params)
		return chromedp.Void{}, err
	})
}

// Resize sets the width of the window, in pixels.
func (b *Browser) Resize(width int64) {
	b.t.Helper()
	params := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 1400, DeviceScaleFactor: 1}
	b.Do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetDeviceMetricsOverride, params)
		return chromedp.Void{}, err
	})
}

// Evaluate returns the value of a script that results in a string.
func (b *Browser) Evaluate(script string) string {
	b.t.Helper()
	return inBrowser(b, "evaluate", chromedp.Evaluate[string](script))
}

// Screenshot writes the window to NAME.png in the folder $SCREENSHOTS, if that is set.
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

// inBrowser performs one action within browserStepTimeout and returns its value, or fails the test.
func inBrowser[T any](b *Browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserStepTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.Screenshot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
		b.t.Fatalf("browser: %s: %v; errors of the page: %q", what, err, b.Faults())
	}
	return value
}
