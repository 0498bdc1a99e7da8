// Package sample is a small annotated API that the generator's tests read.
package sample

// @title			Sample API
// @version		1.2.3
// @description	A sample that stands for the real API in tests.
// @BasePath		/
// @schemes
//
// @tag.name			products
// @tag.description	What the shop sells.
//
// @securityDefinitions.apikey	BearerAuth
// @in							header
// @name						Authorization
// @securityDefinitions.apikey	ApiKeyAuth
// @in							header
// @name						X-API-Key
