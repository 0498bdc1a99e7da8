package usage

import (
	"context"
	"time"
)

// PartitionInterval is a suitable interval between calls of MaintainPartitions.
const PartitionInterval = retentionInterval

// Name returns "usage".
func (*Service) Name() string { return "usage" }

// Start begins to write recorded usage.
func (s *Service) Start(context.Context) error { return nil }

// Stop writes what was recorded.
func (s *Service) Stop(ctx context.Context) error { return s.Close(ctx) }

// MaintainPartitions creates and drops partitions.
func (s *Service) MaintainPartitions(ctx context.Context, now time.Time) error {
	return s.Retain(ctx, now)
}
