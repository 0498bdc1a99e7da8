package binding

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/elnormous/contenttype"

	"ratelimiter/models"
)

// negotiate returns a 406 when the caller accepts nothing of what is produced
// (RFC 9110, section 12.5.1). A field that can't be parsed says nothing.
func negotiate(header http.Header, produces []string) error {
	accept := strings.TrimSpace(strings.Join(header["Accept"], ", "))
	if accept == "" || accept == "*/*" || len(produces) == 0 {
		return nil
	}
	var offered []contenttype.MediaType
	for _, mediaType := range produces {
		offered = append(offered, contenttype.NewMediaType(mediaType))
		if mediaType == JSON { // callers may name its charset, needlessly
			offered = append(offered, contenttype.NewMediaType(JSON+"; charset=utf-8"))
		}
	}
	if _, _, err := contenttype.GetAcceptableMediaTypeFromHeader(accept, offered); !errors.Is(err, contenttype.ErrNoAcceptableTypeFound) {
		return nil
	}
	return &models.StatusError{
		Status: http.StatusNotAcceptable,
		Detail: fmt.Sprintf("This answers with %s, which the Accept field excludes.", strings.Join(produces, " or ")),
	}
}
