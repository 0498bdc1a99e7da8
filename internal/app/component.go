package app

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Component is a part of the server that does work in the background.
type Component interface {
	// Name identifies the component in errors and logs.
	Name() string
	// Start begins the work and returns when it is under way. ctx bounds the
	// start only.
	Start(ctx context.Context) error
	// Stop ends the work and waits until it has ended, or ctx has. It is called
	// once, after a successful Start.
	Stop(ctx context.Context) error
}

// stopTimeout bounds one component's Stop. It exceeds the bounds that the
// components have themselves.
const stopTimeout = 30 * time.Second

// components starts and stops components in order.
type components struct {
	list    []Component
	started int
}

// start starts the components in order until one fails.
func (c *components) start(ctx context.Context) error {
	for _, component := range c.list {
		if err := component.Start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", component.Name(), err)
		}
		c.started++
	}
	return nil
}

// stop stops the started components in reverse order. The error joins the
// failures.
func (c *components) stop(ctx context.Context) error {
	var failures []error
	for ; c.started > 0; c.started-- {
		component := c.list[c.started-1]
		bounded, cancel := context.WithTimeout(ctx, stopTimeout)
		if err := component.Stop(bounded); err != nil {
			failures = append(failures, fmt.Errorf("stop %s: %w", component.Name(), err))
		}
		cancel()
	}
	return errors.Join(failures...)
}

// task is a component that does all its work at start or at stop.
type task struct {
	name  string
	start func(context.Context) error
	stop  func(context.Context) error
}

// Name returns the task's name.
func (t *task) Name() string { return t.name }

// Start calls start, if there is one.
func (t *task) Start(ctx context.Context) error {
	if t.start == nil {
		return nil
	}
	return t.start(ctx)
}

// Stop calls stop, if there is one.
func (t *task) Stop(ctx context.Context) error {
	if t.stop == nil {
		return nil
	}
	return t.stop(ctx)
}
