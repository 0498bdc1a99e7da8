// Command bench compares the engine with other Go rate limiters in one process.
// Candidates run in short, interleaved slices of time, so that other load on the
// machine affects all of them equally. It prints medians and their ratios to this
// engine. With -http it compares servers over HTTP, which needs wrk on the PATH and
// the server's binary; with -redis limiters on Redis, which needs redis-server.
//
//	go run . [-http|-redis]
package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

const (
	// highLimit is a limit that no measurement exhausts.
	highLimit  = 3_000_000_000
	rounds     = 30
	slice      = 20 * time.Millisecond // per candidate and round
	randomKeys = 100_000
	memoryKeys = 1_000_000
)

func main() {
	compareHTTP := flag.Bool("http", false, "compare servers over HTTP")
	var b httpBench
	flag.IntVar(&b.rounds, "rounds", 4, "with -http: `number` of slices of a second of each server and load")
	flag.StringVar(&b.binary, "server", "../bin/ratelimiter", "with -http: `path` of the server")
	only := flag.String("only", "", "with -http: `pattern` of the loads, such as 'admitted, 1 key'")
	compareRedis := flag.Bool("redis", false, "compare limiters on Redis")
	peer := flag.String("peer", "", "for -http itself: serve as the peer of this `name`")
	address := flag.String("address", "", "of -peer")
	responses := flag.String("responses", "", "of -peer: file with responses by path")
	flag.Parse()
	var err error
	switch {
	case *peer != "":
		err = serveGin(*peer, *address, *responses)
	case *compareRedis:
		err = overRedis()
	case *compareHTTP:
		var pattern *regexp.Regexp
		if pattern, err = regexp.Compile(*only); err == nil {
			err = overHTTP(b, pattern)
		}
	default:
		inProcess()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// inProcess compares the limiters of this process.
func inProcess() {
	fmt.Printf("%s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOMAXPROCS(0))
	speed("one hot key", 1, 1)
	speed("one hot key, two goroutines", 1, 2)
	speed(fmt.Sprint(randomKeys, " random keys"), randomKeys, 1)
	memoryUse(memoryKeys)
	exactness()
	fmt.Println("\nFeatures of this engine that each candidate omits:")
	table(func(w *tabwriter.Writer) {
		for _, c := range candidates {
			fmt.Fprintf(w, "%s\t%s\n", c.name, c.omits)
		}
	})
}

// speed runs all candidates interleaved and prints the median time of a take.
func speed(title string, count, goroutines int) {
	names := newKeys(count)
	takes := make([]func(string) bool, len(candidates))
	times := make([][]float64, len(candidates))
	for i, c := range candidates {
		takes[i] = c.open(config{highLimit, time.Hour, count})
		for n := range names.n {
			takes[i](names.key(n))
		}
	}
	runtime.GC()
	for range rounds {
		for _, i := range rand.Perm(len(candidates)) {
			times[i] = append(times[i], run(takes[i], names, goroutines))
		}
	}
	fmt.Printf("\n%s, median of %d interleaved slices of %v:\n", title, rounds, slice)
	base := median(times[0])
	table(func(w *tabwriter.Writer) {
		for i, c := range candidates {
			m := median(times[i])
			fmt.Fprintf(w, "%s\t%.2f ×\t(%.0f ns)\n", c.name, m/base, m)
		}
	})
}

// run takes from random keys for a slice of time and returns nanoseconds per take
// of all goroutines together.
func run(take func(string) bool, names keys, goroutines int) float64 {
	const batch = 64
	var total atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range goroutines {
		wg.Go(func() {
			n, at := 0, rand.IntN(names.n)
			for time.Since(began) < slice {
				for range batch {
					take(names.key(at))
					if at++; at == names.n {
						at = 0
					}
				}
				n += batch
			}
			total.Add(int64(n))
		})
	}
	wg.Wait()
	return float64(time.Since(began).Nanoseconds()) / float64(total.Load())
}

// memoryUse fills each candidate with keys and prints the memory per key and the
// duration of a full garbage collection.
func memoryUse(count int) {
	fmt.Printf("\n%d keys in memory:\n", count)
	names := newKeys(count)
	var base float64
	table(func(w *tabwriter.Writer) {
		for i, c := range candidates {
			before := heap()
			take := c.open(config{highLimit, time.Hour, count})
			for n := range names.n {
				take(names.key(n))
			}
			bytes := float64(heap()-before) / float64(count)
			began := time.Now()
			runtime.GC()
			pause := time.Since(began)
			runtime.KeepAlive(take)
			if i == 0 {
				base = bytes
			}
			fmt.Fprintf(w, "%s\t%.2f ×\t(%.0f B per key)\tfull GC %v\n", c.name, bytes/base, bytes, pause.Round(time.Millisecond))
		}
	})
}

// heap returns the size of the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// exactness exceeds each candidate's limit, concurrently and across a window
// boundary, and prints the number of admitted requests.
func exactness() {
	const limit = 1000
	fmt.Printf("\nAdmitted of a limit of %d per hour, by eight goroutines, worst of 20 runs:\n", limit)
	table(func(w *tabwriter.Writer) {
		for _, c := range candidates {
			worst := 0
			for range 20 {
				take := c.open(config{limit, time.Hour, 10})
				worst = max(worst, hammer(take, 8, func(n int) bool { return n < limit }))
			}
			fmt.Fprintf(w, "%s\t%d\t%.2f × the limit\n", c.name, worst, float64(worst)/limit)
		}
	})
	fmt.Printf("\nAdmitted of a limit of %d per second, from 0.9 s to 1.1 s:\n", limit)
	table(func(w *tabwriter.Writer) {
		for _, c := range candidates {
			take := c.open(config{limit, time.Second, 10})
			start := time.Now().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(start.Add(time.Millisecond)))
			take("k") // starts windows that begin with the first request
			time.Sleep(time.Until(start.Add(900 * time.Millisecond)))
			got := hammer(take, 1, func(int) bool { return time.Since(start) < 1100*time.Millisecond })
			fmt.Fprintf(w, "%s\t%d\t%.2f × the limit\n", c.name, got, float64(got)/limit)
		}
	})
	fmt.Println("Expected: 1.2 × for a token bucket (burst and refill), 1 × for a window.")
}

// hammer takes from several goroutines while more returns true and returns the
// number of admitted takes.
func hammer(take func(string) bool, goroutines int, more func(n int) bool) int {
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for n := 0; more(n); n++ {
				if take("k") {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(passed.Load())
}

// keys is keys in random order in one string, so that reading them is cheap and
// adds no work for the garbage collector.
type keys struct {
	text string
	n    int
}

const keyLength = 18

func newKeys(n int) keys {
	var b strings.Builder
	for _, i := range rand.Perm(n) {
		b.WriteString("rl_live_" + strconv.Itoa(1_000_000_000+i))
	}
	return keys{b.String(), n}
}

func (k keys) key(i int) string { return k.text[i*keyLength : (i+1)*keyLength] }

func median(values []float64) float64 {
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare[float64])
	return sorted[len(sorted)/2]
}

func table(write func(w *tabwriter.Writer)) {
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', 0)
	write(w)
	_ = w.Flush()
}
