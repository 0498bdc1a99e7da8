package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	ulule "github.com/ulule/limiter/v3"
	ululegin "github.com/ulule/limiter/v3/drivers/middleware/gin"
	ululemem "github.com/ulule/limiter/v3/drivers/store/memory"
)

// What scripts/install-bench-peers.sh installs.
const (
	fastAPIPython = "../.tools/bench-fastapi/bin/python"
	unpackedNginx = "../.tools/bench-nginx/usr/sbin/nginx"
)

// responses are recorded responses by path. Peers send them.
type responses map[string]response

func (b *httpBench) responsesFile() string { return filepath.Join(b.folder, "responses.json") }

// restart starts RateLimiter, again if it runs.
func (b *httpBench) restart(ctx context.Context) error {
	if running := b.servers[ours]; running != nil {
		running.stop()
		delete(b.servers, ours)
	}
	p, err := b.product.serve(ctx, b.binary)
	if err == nil {
		b.servers[ours] = p
	}
	return err
}

// startPeers records what RateLimiter sends and starts the peers. One that can't start
// is left out, except for bare Gin.
func (b *httpBench) startPeers(ctx context.Context) (err error) {
	if err := b.restart(ctx); err != nil {
		return err
	}
	recorded := responses{}
	for path, keysOf := range map[string]string{productPath: productPath, spentPath: spentPath, mePath: productPath} {
		for range 2 { // the first spends the quota of spentPath
			if recorded[path], err = get(ctx, b.servers[ours].base+path, b.product.keys[keysOf][0]); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(b.responsesFile(), must(json.Marshal(recorded)), 0o600); err != nil {
		return err
	}
	for name, start := range map[string]func(context.Context, string, responses) (*process, error){
		bareGin: b.startGin, ginUlule: b.startGin, nginx: b.startNginx, fastAPI: b.startFastAPI,
	} {
		p, err := start(ctx, name, recorded)
		if err == nil {
			b.servers[name] = p
			err = checkPeer(ctx, name, p.base, recorded)
		} else if name != bareGin && ctx.Err() == nil {
			why, _, _ := strings.Cut(err.Error(), "\n")
			b.missing, err = append(b.missing, name+" is left out: "+why), nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPeer returns an error unless a peer sends the recorded statuses and bodies, and
// bare Gin also the same header.
func checkPeer(ctx context.Context, name, base string, recorded responses) error {
	for path, want := range recorded {
		if path == mePath && name != bareGin {
			continue
		}
		var got response
		var err error
		for range 2 { // nginx admits the first to spentPath
			if got, err = get(ctx, base+path, "any"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if name != bareGin {
			got.Header = want.Header
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%s sends %v, want %v", name, got, want)
		}
	}
	return nil
}

// startGin starts this program as serveGin.
func (b *httpBench) startGin(ctx context.Context, name string, _ responses) (*process, error) {
	address := freeAddress()
	p := process{base: "http://" + address, log: filepath.Join(b.folder, strings.ReplaceAll(name, "/", "-")+".log"), metrics: "http://" + address + "/metrics"}
	return startProcess(ctx, p, p.metrics, nil, must(os.Executable()), "-peer", name, "-address", address, "-responses", b.responsesFile())
}

// serveGin sends recorded responses. As ginUlule it limits each key: every request
// is refused to paths of a recorded 429, none to others.
func serveGin(name, address, file string) error {
	var recorded responses
	if err := json.Unmarshal(must(os.ReadFile(file)), &recorded); err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	for path, r := range recorded {
		body := []byte(r.Body)
		chain := []gin.HandlerFunc{func(c *gin.Context) {
			maps.Copy(c.Writer.Header(), r.Header)
			c.Status(r.Status)
			_, _ = c.Writer.Write(body)
		}}
		if name == ginUlule {
			rate := ulule.Rate{Period: time.Hour, Limit: highLimit}
			if r.Status == http.StatusTooManyRequests {
				rate.Limit = 0
			}
			chain = append([]gin.HandlerFunc{ululegin.NewMiddleware(ulule.New(ululemem.NewStore(), rate),
				ululegin.WithKeyGetter(func(c *gin.Context) string { return c.GetHeader("Authorization") }),
				ululegin.WithLimitReachedHandler(ululegin.LimitReachedHandler(chain[0])))}, chain...)
		}
		router.GET(path, chain...)
	}
	router.GET("/metrics", func(c *gin.Context) {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		c.String(http.StatusOK, "go_memstats_mallocs_total %d\n", stats.Mallocs)
	})
	server := &http.Server{Addr: address, Handler: router, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// startFastAPI starts one worker, with its access log in a file.
func (b *httpBench) startFastAPI(ctx context.Context, _ string, _ responses) (*process, error) {
	host, port, _ := strings.Cut(freeAddress(), ":")
	p := process{base: "http://" + host + ":" + port, log: filepath.Join(b.folder, "fastapi.log")}
	return startProcess(ctx, p, p.base+productPath, []string{"RESPONSES=" + b.responsesFile(), "PYTHONDONTWRITEBYTECODE=1"}, fastAPIPython,
		"-m", "uvicorn", "peer:app", "--app-dir", "fastapi", "--host", host, "--port", port, "--loop", "uvloop", "--http", "httptools")
}

// nginxConfig limits requests for files: "return" would precede limit_req. The lowest
// rate of limit_req is one request a minute, so spentPath is refused by a second zone,
// which all keys share.
const nginxConfig = `daemon off; worker_processes auto; pid nginx.pid; %s
events {}
http {
  access_log nginx.log; keepalive_requests 1000000000; etag off; types {} open_file_cache max=10;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  limit_req_zone $http_authorization zone=keys:64m rate=1000000r/s;
  limit_req_zone $uri zone=spent:1m rate=1r/m;
  limit_req_status 429;
  server {
    listen %s;
    location = %s { limit_req zone=keys burst=1000000 nodelay; %s }
    location = %s { limit_req zone=keys burst=1000000 nodelay; limit_req zone=spent; alias nginx.conf; error_page 429 /refused; }
    location = /refused { internal; %s }
  }
}
`

// startNginx starts a worker per core, with its access log in a file.
func (b *httpBench) startNginx(ctx context.Context, _ string, recorded responses) (*process, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = unpackedNginx
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // the folder is root's
	}
	file := func(name, text string) string {
		path := filepath.Join(b.folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			panic(err)
		}
		return path
	}
	address := freeAddress()
	config := fmt.Sprintf(nginxConfig, user, address, productPath, nginxResponse(file("200", recorded[productPath].Body), recorded[productPath].Header),
		spentPath, nginxResponse(file("429", recorded[spentPath].Body), recorded[spentPath].Header))
	p := process{base: "http://" + address, log: filepath.Join(b.folder, "nginx.log")}
	return startProcess(ctx, p, p.base+productPath, nil, program, "-p", b.folder, "-c", file("nginx.conf", config), "-e", "stderr")
}

// nginxResponse returns the directives that send a file with the fields of a header.
func nginxResponse(file string, header http.Header) string {
	text := fmt.Sprintf("alias %s;", file)
	for name := range header {
		value := strconv.Quote(header.Get(name))
		switch name {
		case "Content-Length":
		case "Content-Type":
			text += fmt.Sprintf(" default_type %s;", value)
		default:
			text += fmt.Sprintf(" add_header %s %s always;", name, value)
		}
	}
	return text
}
