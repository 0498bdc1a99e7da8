package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// bind returns in, filled with what a request for JSON holds; see
// [binding.Bind]. Where that is wrong, it fails the request.
func bind[T any](c *gin.Context, in T) (T, bool) { return bindFor(c, in, binding.JSON) }

// bindFor is bind for what is answered with other media types; none: without a
// body.
func bindFor[T any](c *gin.Context, in T, produces ...string) (T, bool) {
	in, err := binding.Bind(c, in, produces...)
	if err != nil {
		fail(c, err)
	}
	return in, err == nil
}

// nothing is the input of an operation that takes none.
type nothing struct{}

// fail reports that the request failed; middleware.RenderErrors answers.
func fail(c *gin.Context, err error) {
	_ = c.Error(err) // c.Error returns its argument wrapped, for chaining
	c.Abort()
}

// answer answers with a body, unless err says that there is none.
func answer(c *gin.Context, status int, body any, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(status, body)
}

// answerCreated answers with what was made, and where it is, unless err says that
// nothing was.
func answerCreated(c *gin.Context, location string, body any, err error) {
	if err == nil {
		c.Header("Location", location)
	}
	answer(c, http.StatusCreated, body, err)
}

// answerEmpty answers that what was asked for is done, unless err says that it
// isn't.
func answerEmpty(c *gin.Context, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// keyOf returns the key of a request.
func keyOf(ctx context.Context) *models.APIKey { return models.RequestFrom(ctx).Key }
