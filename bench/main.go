// Command bench compares the engine with other Go rate limiters, side by side
// in one process: every contender gets a short slice of time in turn, round
// after round, so that whatever else the machine does meets all of them
// alike. It prints medians and, first of all, ratios to this engine.
//
//	go run . [-rounds 30] [-slice 20ms] [-keys 100000] [-memory 1000000]
package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// plenty is a limit that no measurement reaches.
const plenty = 3_000_000_000

func main() {
	rounds := flag.Int("rounds", 30, "rounds of slices")
	slice := flag.Duration("slice", 20*time.Millisecond, "time of one contender in one round")
	random := flag.Int("keys", 100_000, "how many random keys")
	million := flag.Int("memory", 1_000_000, "how many keys to measure memory with; 0 leaves it out")
	flag.Parse()

	fmt.Printf("%s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOMAXPROCS(0))
	speed("one hot key", 1, 1, *rounds, *slice)
	speed("one hot key, two goroutines", 1, 2, *rounds, *slice)
	speed(fmt.Sprint(*random, " random keys"), *random, 1, *rounds, *slice)
	if *million > 0 {
		space(*million)
	}
	exactness()
	fmt.Println("\nWhat each leaves out of what a request gets from this engine:")
	table(func(w *tabwriter.Writer) {
		for _, c := range contenders {
			fmt.Fprintf(w, "%s\t%s\n", c.name, c.lacks)
		}
	})
}

// speed runs all contenders in turn and prints the median time of a take.
func speed(title string, count, goroutines, rounds int, slice time.Duration) {
	names := newKeys(count)
	takes := make([]func(string) bool, len(contenders))
	times := make([][]float64, len(contenders))
	for i, c := range contenders {
		takes[i] = c.open(config{plenty, time.Hour, count})
		for n := range names.n {
			takes[i](names.key(n))
		}
	}
	runtime.GC()
	for range rounds {
		for _, i := range rand.Perm(len(contenders)) {
			times[i] = append(times[i], run(takes[i], names, goroutines, slice))
		}
	}
	fmt.Printf("\n%s, by the median of %d interleaved slices of %v:\n", title, rounds, slice)
	base := median(times[0])
	table(func(w *tabwriter.Writer) {
		for i, c := range contenders {
			m := median(times[i])
			fmt.Fprintf(w, "%s\t%.2f ×\t(%.0f ns)\n", c.name, m/base, m)
		}
	})
}

// run takes from random keys for a slice of time and returns nanoseconds a
// take, over all goroutines.
func run(take func(string) bool, names keys, goroutines int, slice time.Duration) float64 {
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

// space fills each contender with keys and prints what one takes, and how
// long a full garbage collection lasts beside them.
func space(count int) {
	fmt.Printf("\n%d keys in memory:\n", count)
	names := newKeys(count)
	var base float64
	table(func(w *tabwriter.Writer) {
		for i, c := range contenders {
			before := heap()
			take := c.open(config{plenty, time.Hour, count})
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
			fmt.Fprintf(w, "%s\t%.2f ×\t(%.0f B a key)\tfull GC %v\n", c.name, bytes/base, bytes, pause.Round(time.Millisecond))
		}
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// exactness lets each contender be asked for more than there is, in two ways.
func exactness() {
	const limit = 1000
	fmt.Printf("\nOf a limit of %d an hour, eight goroutines at once got, in the worst of 20 tries:\n", limit)
	table(func(w *tabwriter.Writer) {
		for _, c := range contenders {
			worst := 0
			for range 20 {
				take := c.open(config{limit, time.Hour, 10})
				worst = max(worst, hammer(take, 8, func(n int) bool { return n < limit }))
			}
			fmt.Fprintf(w, "%s\t%d\t%.2f × the limit\n", c.name, worst, float64(worst)/limit)
		}
	})
	fmt.Printf("\nOf a limit of %d a second, who asks from 0.9 s to 1.1 s got, in these 0.2 s:\n", limit)
	table(func(w *tabwriter.Writer) {
		for _, c := range contenders {
			take := c.open(config{limit, time.Second, 10})
			start := time.Now().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(start.Add(time.Millisecond)))
			take("k") // opens the window of those who count from the first request
			time.Sleep(time.Until(start.Add(900 * time.Millisecond)))
			got := hammer(take, 1, func(int) bool { return time.Since(start) < 1100*time.Millisecond })
			fmt.Fprintf(w, "%s\t%d\t%.2f × the limit\n", c.name, got, float64(got)/limit)
		}
	})
	fmt.Println("A token bucket's due is 1.2 × there: its burst and what refills; a window's is 1 ×.")
}

// hammer asks from several goroutines while more says so, and returns how many
// passed.
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

// keys are names in random order, in one piece of memory, so that reading
// them costs all contenders little and the collector nothing.
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
