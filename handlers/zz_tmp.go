package handlers

import (
	"context"
	"time"

	"ratelimiter/models"
)

type EventSource struct{ Owner, Order string }
type EventQuery struct {
	After string
	Types []models.EventType
	Limit int
}
type EventLog interface {
	Wait(ctx context.Context, s EventSource, q EventQuery, timeout time.Duration) (models.EventPage, error)
}
