package docs

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

//go:embed pages/demo-orders.html
var demoPage []byte

//go:embed pages/demo.css
var demoStyle []byte

//go:embed pages/demo.js
var demoScript []byte

//go:embed pages/follow.js
var followScript []byte

var (
	demoFile         = page("demo-orders.html", demoPage)
	demoStyleFile    = embedded("demo.css", demoStyle)
	demoScriptFile   = embedded("demo.js", demoScript)
	followScriptFile = embedded("follow.js", followScript)
)

// DemoOrders handles GET /demo/orders: a page that places an order and follows it.
func DemoOrders(c *gin.Context) {
	c.Header("Content-Security-Policy", pagePolicy)
	demoFile.serve(c)
}

// Demo handles GET /demo/orders/*any: what the page loads.
func Demo(c *gin.Context) {
	switch strings.TrimPrefix(c.Param("any"), "/") {
	case "":
		c.Redirect(http.StatusFound, "/demo/orders")
	case "demo.css":
		demoStyleFile.serve(c)
	case "demo.js":
		demoScriptFile.serve(c)
	case "follow.js":
		followScriptFile.serve(c)
	default:
		c.Status(http.StatusNotFound)
	}
}
