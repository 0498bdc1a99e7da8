package main

import "ratelimiter/docs"

// openAPICommand prints the API's description.
type openAPICommand struct{}

// Run prints it as the server would serve it.
func (*openAPICommand) Run(to *console) error {
	_, err := to.out.Write(docs.OpenAPI())
	return err
}
