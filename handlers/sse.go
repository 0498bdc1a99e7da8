package handlers

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// eventStreamType is the media type of Server-Sent Events.
const eventStreamType = "text/event-stream"

// PrefersEventStream reports whether a request for events has a stream of Server-Sent
// Events as response; otherwise it is JSON.
func PrefersEventStream(header http.Header) bool {
	return binding.Preferred(header, binding.JSON, eventStreamType) == eventStreamType
}

const (
	// commentInterval is the time after which a stream without events gets a comment:
	// proxies close idle connections, many after a minute.
	commentInterval = 15 * time.Second
	// A client that lost its connection connects again after minRetry and up to
	// retryJitter.
	minRetry    = time.Second
	retryJitter = 4 * time.Second
)

// lastEventID is the header field with the id of the last event that was received.
const lastEventID = "Last-Event-ID"

// eventResume is where a stream continues.
type eventResume struct {
	LastEventID string `header:"Last-Event-ID" example:"MS4x"` // Of a stream: the id of the last event that was received; it takes precedence over after
}

// sse is a stream of Server-Sent Events (HTML Living Standard, section 9.2).
type sse struct {
	writer     gin.ResponseWriter
	controller *http.ResponseController
	text       []byte // to be sent
}

// serveSSE responds with a stream of events.
func (h *EventStreams) serveSSE(c *gin.Context, in followed, resume eventResume) {
	in.query.After = cmp.Or(resume.LastEventID, in.query.After)
	st, page, err := h.openStream(c.Request.Context(), &in)
	if err != nil {
		if resume.LastEventID != "" {
			err = inLastEventID(err)
		}
		fail(c, err)
		return
	}
	reason := error(models.StreamFailed) // unless it is known how it ends
	defer func() { st.Close(reason) }()
	header := c.Writer.Header()
	header["Content-Type"] = []string{eventStreamType}
	header["Cache-Control"] = []string{"no-store"}
	header["X-Accel-Buffering"] = []string{"no"} // nginx sends each event at once
	header["Connection"] = []string{"close"}     // what it takes is bounded as a stream's is
	c.Status(http.StatusOK)
	if c.Request.Method == http.MethodHead {
		reason = nil
		return
	}
	s := &sse{
		writer: c.Writer, controller: http.NewResponseController(c.Writer),
		text: fmt.Appendf(nil, "retry: %d\n\n", (minRetry + rand.N(retryJitter)).Milliseconds()),
	}
	reason = h.follow(st, in, page, s)
	if end, ended := errors.AsType[models.StreamEnd](reason); ended {
		s.text = fmt.Appendf(s.text[:0], ": %s\n\n", string(end))
		_ = s.flush()
	}
}

// inLastEventID moves the faults of a cursor to the header that it was sent in.
func inLastEventID(err error) error {
	invalid, ok := errors.AsType[*models.Error](err)
	if !ok || invalid.Kind != models.KindInvalid {
		return err
	}
	var faults models.Faults
	for _, fault := range invalid.Faults {
		fault.Source, fault.Path = models.SourceHeader, []string{lastEventID}
		fault.Message = "is not the id of an event of this stream: send the last id unchanged, or leave it out"
		faults.AddFault(fault)
	}
	return faults.Err()
}

// send sends each event as a message: its cursor, its type, and the event on one
// line.
func (s *sse) send(events []models.Event) error {
	for i := range events {
		data, err := json.Marshal(&events[i])
		if err != nil {
			return fmt.Errorf("%w: %w", models.StreamFailed, err)
		}
		s.text = fmt.Appendf(s.text, "id: %s\nevent: %s\ndata: %s\n\n", events[i].Cursor, events[i].Type, data)
	}
	return s.flush()
}

// idle sends a comment.
func (s *sse) idle() error {
	s.text = append(s.text, ":\n\n"...)
	return s.flush()
}

func (*sse) idleTime() time.Duration { return commentInterval }

// flush sends the text.
func (s *sse) flush() error {
	_ = s.controller.SetWriteDeadline(time.Now().Add(streamWriteTimeout)) // unsupported by test recorders only
	_, err := s.writer.Write(s.text)
	if err == nil {
		err = s.controller.Flush()
	}
	s.text = s.text[:0]
	return writeFailure(err)
}

// writeFailure makes the failure of a write that took too long the reason
// StreamSlowReader.
func writeFailure(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return models.StreamSlowReader
	}
	return err
}
