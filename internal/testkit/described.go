package testkit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"ratelimiter/docs"
	"ratelimiter/internal/testkit/contract"
)

// described loads the OpenAPI description once.
var described = sync.OnceValues(func() (*contract.Contract, error) { return contract.Load(docs.OpenAPI()) })

// undescribedPaths serve the description and the pages that show it. A trailing
// slash includes all paths below.
var undescribedPaths = []string{"/", "/favicon.ico", "/docs", "/swagger/", "/redoc", "/redoc/", "/guide", "/guide/", "/demo/orders", "/demo/orders/", "/openapi.json"}

// check fails the test if an exchange differs from the description. Responses to
// OPTIONS are not described.
func (c *Client) check(request *http.Request, sent []byte, response *Response) {
	c.t.Helper()
	path := request.URL.Path
	undescribed := slices.ContainsFunc(undescribedPaths, func(p string) bool {
		return path == p || p != "/" && strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
	if c.unchecked != "" || undescribed || request.Method == http.MethodOptions {
		return
	}
	description, err := described()
	if err != nil {
		c.t.Errorf("load the description: %v", err)
		return
	}
	body, err := plain(response)
	if err != nil {
		c.t.Errorf("%s: %v", response.call, err)
		return
	}
	err = description.Check(contract.Exchange{
		Method: request.Method, URL: request.URL, RequestHeader: request.Header, RequestBody: sent,
		Status: response.Status, Header: response.Header, Body: body,
	})
	if err != nil {
		c.t.Errorf("%s: status %d: not as described: %v", response.call, response.Status, err)
	}
}

// plain returns the decompressed body.
func plain(response *Response) ([]byte, error) {
	if response.Header.Get("Content-Encoding") != "gzip" || len(response.Body) == 0 {
		return response.Body, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(response.Body))
	if err != nil {
		return nil, fmt.Errorf("invalid gzip: %w", err)
	}
	return io.ReadAll(reader)
}
