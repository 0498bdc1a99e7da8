package redis

import (
	"time"

	"github.com/redis/rueidis"
)

// Connect returns a client for a URL:
//
//	redis://user:password@host:port/db                       one server; rediss: with TLS
//	redis://host:port?addr=host:port&addr=host:port          nodes of a Cluster
//	redis://host:port?master_set=name&addr=host:port         Sentinels that watch a primary
//
// timeout bounds the establishment of a connection. Failed calls are not retried. The
// error means that the URL is invalid or that no server answers.
func Connect(url string, timeout time.Duration) (rueidis.Client, error) {
	opt, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opt.Dialer.Timeout = timeout
	opt.DisableRetry = true
	opt.DisableCache = true
	opt.PipelineMultiplex = -1  // one connection: after a failure, all calls find out at once
	opt.AlwaysPipelining = true // a call on its way delays no other one
	return rueidis.NewClient(opt)
}
