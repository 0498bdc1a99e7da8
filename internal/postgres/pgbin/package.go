package pgbin

import (
	"context"
	"errors"
)

func fetchBuild(context.Context, Want) (Install, error)     { return Install{}, errors.New("not yet") }
func installPackage(context.Context, Want) (Install, error) { return Install{}, errors.New("not yet") }
