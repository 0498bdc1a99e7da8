package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// bind returns in, filled from a request whose response is JSON; see
// [binding.Bind]. If the input is invalid, it fails the request.
func bind[T any](c *gin.Context, in T) (T, bool) { return bindFor(c, in, binding.JSON) }

// bindFor is bind for responses of other media types; none: without a body.
func bindFor[T any](c *gin.Context, in T, produces ...string) (T, bool) {
	in, err := binding.Bind(c, in, produces...)
	if err != nil {
		fail(c, err)
	}
	return in, err == nil
}

// nothing is the input of an operation without input.
type nothing struct{}

// fail reports that the request failed. middleware.RenderErrors writes the
// response.
func fail(c *gin.Context, err error) {
	_ = c.Error(err) // c.Error returns its argument wrapped, for chaining
	c.Abort()
}

// respond writes a JSON body, or fails the request with err.
func respond(c *gin.Context, status int, body any, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	content, err := json.Marshal(body)
	if err != nil {
		fail(c, err)
		return
	}
	write(c, status, content)
}

// computedLength is the length of a body, in bytes, up to which net/http computes
// the Content-Length itself (net/http.bufferBeforeChunkingSize).
const computedLength = 2048

// write writes a body in JSON, with its length if it would be sent in chunks.
func write(c *gin.Context, status int, content []byte) {
	header := c.Writer.Header()
	header["Content-Type"] = jsonType
	if len(content) > computedLength {
		header["Content-Length"] = []string{strconv.Itoa(len(content))}
	}
	c.Status(status)
	if _, err := c.Writer.Write(content); err != nil {
		_ = c.Error(err) // for the log: the client closed the connection
	}
}

// respondCreated responds 201 with the created resource and its location, or
// fails the request with err.
func respondCreated(c *gin.Context, location string, body any, err error) {
	if err == nil {
		c.Header("Location", location)
	}
	respond(c, http.StatusCreated, body, err)
}

// respondEmpty responds 204, or fails the request with err.
func respondEmpty(c *gin.Context, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// keyOf returns the key of the request.
func keyOf(ctx context.Context) *models.APIKey { return models.RequestFrom(ctx).Key }
