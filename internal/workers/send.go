package workers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// unknownError is the error of a call that may have had its effect.
type unknownError struct{ error }

// Unwrap returns the cause.
func (e unknownError) Unwrap() error { return e.error }

// isUnknown reports whether err is the error of a call whose outcome is unknown.
func isUnknown(err error) bool {
	_, unknown := errors.AsType[unknownError](err)
	return unknown
}

// statusError is the error of a response with this status.
type statusError int

// Error names the status.
func (s statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the gateway answered %d %s", int(s), http.StatusText(int(s))))
}

// send sends a request. An error is what the circuit breaker counts as a failure: no
// complete response (unknownError), a status from 500 on, or 429. It contains neither
// the URL nor a body.
func (g *Gateway) send(ctx context.Context, method, path, key string, body any) (response, error) {
	request, err := g.newRequest(ctx, method, path, key, body)
	if err != nil {
		return response{}, err
	}
	answer, err := g.client.Do(request)
	if err != nil {
		return response{}, unknownError{withoutURL(err)}
	}
	defer func() { _ = answer.Body.Close() }()
	r := response{status: answer.StatusCode}
	if r.status >= http.StatusInternalServerError || r.status == http.StatusTooManyRequests {
		return r, statusError(r.status)
	}
	r.body, err = io.ReadAll(io.LimitReader(answer.Body, maxGatewayResponse+1))
	switch {
	case err != nil:
		return r, unknownError{withoutURL(err)}
	case len(r.body) > maxGatewayResponse:
		return r, unknownError{fmt.Errorf("the gateway's response exceeds %d KiB", maxGatewayResponse>>10)}
	case r.status == http.StatusConflict:
		r.refusal = refusalIn(r.body)
	}
	return r, nil
}

// newRequest returns a request of which the error doesn't repeat the URL. Only a POST
// has a body.
func (g *Gateway) newRequest(ctx context.Context, method, path, key string, body any) (*http.Request, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var content io.Reader = http.NoBody
	if method == http.MethodPost {
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, g.base()+path, content)
	if err != nil {
		return nil, errors.New("the URL of the gateway is invalid")
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", key)
	}
	return request, nil
}

// refusalIn returns the code of a problem if it is one of refusals; otherwise "".
func refusalIn(body []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &problem) != nil || !slices.Contains(refusals, problem.Code) {
		return ""
	}
	return problem.Code
}

// withoutURL returns what happened, without the URL, which may contain a password.
func withoutURL(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no response within %s: %w", gatewayTimeout, context.DeadlineExceeded)
	}
	if sent, ok := errors.AsType[*url.Error](err); ok {
		return sent.Err
	}
	return err
}
