package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// fakeInvoices implements the dependencies of Invoices and records their calls.
type fakeInvoices struct {
	calls   []string
	poolErr error // returned by Do
	drawCtx context.Context
}

func (f *fakeInvoices) Read(_ context.Context, owner, id string) (models.Invoice, error) {
	f.calls = append(f.calls, "read "+owner+" "+id)
	return models.Invoice{Order: models.Order{ID: id}}, nil
}

func (f *fakeInvoices) Tag(models.Invoice) string { return `"tag"` }

func (f *fakeInvoices) Draw(ctx context.Context, _ models.Invoice) ([]byte, error) {
	f.calls, f.drawCtx = append(f.calls, "draw"), ctx
	return []byte("%PDF"), nil
}

func (f *fakeInvoices) Do(ctx context.Context, work func(context.Context) error) error {
	if f.poolErr != nil {
		return f.poolErr
	}
	f.calls = append(f.calls, "begin")
	defer func() { f.calls = append(f.calls, "end") }()
	return work(context.WithValue(ctx, f, "pool"))
}

func getInvoice(f *fakeInvoices, id string, header http.Header) (*gin.Context, *httptest.ResponseRecorder) {
	recorder := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(recorder)
	c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
	c.Request.Header = header
	c.Params = gin.Params{{Key: "id", Value: id}}
	c.Set(models.RequestKey, &models.Request{Key: &models.APIKey{Owner: "me"}})
	NewInvoices(f, f).Get(c)
	c.Writer.WriteHeaderNow()
	return c, recorder
}

func TestInvoices_Get_reads_before_entering_the_pool(t *testing.T) {
	f := &fakeInvoices{}
	_, recorder := getInvoice(f, "ord_1", nil)
	if want := []string{"read me ord_1", "begin", "draw", "end"}; !slices.Equal(f.calls, want) {
		t.Errorf("got calls %q; want %q", f.calls, want)
	}
	if f.drawCtx.Value(f) != "pool" {
		t.Error("Draw didn't get the context of the pool")
	}
	if recorder.Code != http.StatusOK || recorder.Body.String() != "%PDF" {
		t.Errorf("got response %d %s; want 200 %%PDF", recorder.Code, recorder.Body)
	}
}

func TestInvoices_Get_not_modified(t *testing.T) {
	f := &fakeInvoices{}
	_, recorder := getInvoice(f, "ord_1", http.Header{"If-None-Match": {`"x"`, `W/"tag"`}})
	if recorder.Code != http.StatusNotModified || !slices.Equal(f.calls, []string{"read me ord_1"}) {
		t.Errorf("got status %d after calls %q; want 304 after the read", recorder.Code, f.calls)
	}
}

func TestInvoices_Get_overloaded(t *testing.T) {
	f := &fakeInvoices{poolErr: models.ErrOverloaded}
	c, recorder := getInvoice(f, "ord_1", nil)
	if len(c.Errors) != 1 || !errors.Is(c.Errors[0].Err, models.ErrOverloaded) {
		t.Errorf("got errors %v; want ErrOverloaded", c.Errors)
	}
	for _, name := range []string{"ETag", "Cache-Control", "Content-Disposition"} {
		if recorder.Header().Get(name) != "" {
			t.Errorf("got %s: %s; want none", name, recorder.Header().Get(name))
		}
	}
}

func TestInvoices_Get_file_name(t *testing.T) {
	for id, want := range map[string]string{
		"ord_abc-123":           "invoice-ord_abc-123.pdf",
		"a\"b\r\nSet-Cookie: x": "invoice-a-b--Set-Cookie--x.pdf",
		"../../etc/Ü":           "invoice-------etc--.pdf",
	} {
		_, recorder := getInvoice(&fakeInvoices{}, id, nil)
		if got := recorder.Header().Get("Content-Disposition"); got != `attachment; filename="`+want+`"` {
			t.Errorf("id %q: got %s; want %s", id, got, want)
		}
	}
}
