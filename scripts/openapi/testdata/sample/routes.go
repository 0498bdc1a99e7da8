package main

import (
	"net/http"

	"ratelimiter/scripts/openapi/testdata/sample/handlers"
	"ratelimiter/scripts/openapi/testdata/sample/models"
)

type route struct {
	method, path string
	handler      func()
	scope, group models.Scope
	cost         int64
}

var _ = []route{
	{http.MethodGet, "/v1/products", handlers.ListProducts, models.ScopeRead, models.ScopeRead, 1},
	{http.MethodPost, "/v1/products", handlers.CreateProduct, models.ScopeWrite, models.ScopeWrite, 5},
	{http.MethodGet, "/v1/products/:id", handlers.GetProduct, models.ScopeRead, "", 0},
	{http.MethodPatch, "/v1/products/:id", handlers.ChangeProduct, models.ScopeWrite, models.ScopeWrite, 1},
	{http.MethodGet, "/v1/products/:id/sheet", handlers.GetProductSheet, models.ScopeRead, models.ScopeRead, 10},
	{method: http.MethodGet, path: "/livez", handler: handlers.Livez},
}
