package binding

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/elnormous/contenttype"
)

// negotiate returns an error with status 406 when the client accepts none of the
// media types produced (RFC 9110, section 12.5.1). An Accept header that can't
// be parsed is ignored.
func negotiate(header http.Header, produces []string) error {
	accept := strings.TrimSpace(strings.Join(header["Accept"], ", "))
	if accept == "" || accept == "*/*" || len(produces) == 0 {
		return nil
	}
	var offered []contenttype.MediaType
	for _, mediaType := range produces {
		offered = append(offered, contenttype.NewMediaType(mediaType))
		if mediaType == JSON { // clients may name the charset
			offered = append(offered, contenttype.NewMediaType(JSON+"; charset=utf-8"))
		}
	}
	if _, _, err := contenttype.GetAcceptableMediaTypeFromHeader(accept, offered); !errors.Is(err, contenttype.ErrNoAcceptableTypeFound) {
		return nil
	}
	return &Error{
		http.StatusNotAcceptable, "not_acceptable",
		fmt.Sprintf("The response is %s, which the Accept header excludes.", strings.Join(produces, " or ")),
	}
}

// Preferred returns the media type among produces that the client prefers; the first
// one without a preference.
func Preferred(header http.Header, produces ...string) string {
	var offered []contenttype.MediaType
	for _, mediaType := range produces {
		offered = append(offered, contenttype.NewMediaType(mediaType))
	}
	chosen, _, err := contenttype.GetAcceptableMediaTypeFromHeader(strings.Join(header["Accept"], ", "), offered)
	if err != nil {
		return produces[0]
	}
	return chosen.MIME()
}
