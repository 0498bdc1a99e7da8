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

// described is the API's description, read once.
var described = sync.OnceValues(func() (*contract.Contract, error) { return contract.Load(docs.OpenAPI()) })

// undescribedPaths are not in the description: they serve it, or the pages that
// show it. A slash at the end stands for everything below.
var undescribedPaths = []string{"/", "/docs", "/swagger/", "/redoc", "/redoc/", "/openapi.json"}

// check fails the test when an exchange isn't as the API's description has it.
// Answers to OPTIONS are never described: they tell methods, of any path.
func (c *Client) check(request *http.Request, sent []byte, answer *Response) {
	c.t.Helper()
	path := request.URL.Path
	undescribed := slices.ContainsFunc(undescribedPaths, func(p string) bool {
		return path == p || p != "/" && strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
	if c.outside != "" || undescribed || request.Method == http.MethodOptions {
		return
	}
	description, err := described()
	if err != nil {
		c.t.Errorf("the API's description: %v", err)
		return
	}
	body, err := plain(answer)
	if err != nil {
		c.t.Errorf("%s: %v", answer.call, err)
		return
	}
	err = description.Check(contract.Exchange{
		Method: request.Method, URL: request.URL, RequestHeader: request.Header, RequestBody: sent,
		Status: answer.Status, Header: answer.Header, Body: body,
	})
	if err != nil {
		c.t.Errorf("%s: status %d: not as described: %v", answer.call, answer.Status, err)
	}
}

// plain is an answer's body without its compression.
func plain(answer *Response) ([]byte, error) {
	if answer.Header.Get("Content-Encoding") != "gzip" || len(answer.Body) == 0 {
		return answer.Body, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(answer.Body))
	if err != nil {
		return nil, fmt.Errorf("no gzip: %w", err)
	}
	return io.ReadAll(reader)
}
