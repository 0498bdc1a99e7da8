package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"ratelimiter/internal/devdb"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
)

// process is a server under test.
type process struct {
	base     string // URL
	log      string // file with its output
	metrics  string // URL; empty: it has none
	database int    // process id of its Postgres; 0: it has none
	cmd      *exec.Cmd
	ended    chan struct{}
}

// startProcess starts a server and waits until it answers at ready, a URL. The caller
// must stop it.
func startProcess(ctx context.Context, p process, ready string, env []string, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd, p.ended = exec.Command(program, args...), make(chan struct{})
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches this program only, which stops it
	devdb.SetParentDeathSignal(p.cmd.SysProcAttr, syscall.SIGTERM)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if _, err = get(ctx, ready, ""); err == nil {
			return &p, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case <-p.ended:
		case <-ctx.Done():
		}
		p.stop()
		output, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("%s: %w\n%s", program, err, output[:min(len(output), 2000)])
	}
}

// stop ends the process.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// response is a recorded response. Header is without Date.
type response struct {
	Status int
	Header http.Header
	Body   string
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}

// get sends a request with a key. The error is also for a status other than 200
// and 429.
func get(ctx context.Context, url, key string) (r response, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return r, err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	got, err := client.Do(request)
	if err != nil {
		return r, err
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	got.Header.Del("Date")
	if err == nil && got.StatusCode != http.StatusOK && got.StatusCode != http.StatusTooManyRequests {
		err = fmt.Errorf("%s: %s: %s", url, got.Status, body)
	}
	return response{got.StatusCode, got.Header, string(body)}, err
}

// freeAddress returns a loopback address that is free now.
func freeAddress() string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// spent is what a process has used since its start.
type spent struct {
	cpu, database float64 // seconds, of it and of its Postgres
	mallocs       float64
	resident      int // bytes, now
}

// add adds what was used between two times.
func (s *spent) add(before, after spent) {
	s.cpu += after.cpu - before.cpu
	s.database += after.database - before.database
	s.mallocs += after.mallocs - before.mallocs
	s.resident = after.resident
}

// spent reads the metrics, which allocates as much as some requests do.
func (p *process) spent(ctx context.Context) (s spent, err error) {
	if p.metrics != "" {
		r, err := get(ctx, p.metrics, "")
		if err == nil {
			s.mallocs, err = parseMallocs(r.Body)
		}
		if err != nil {
			return s, err
		}
	}
	processes := readProcesses()
	s.cpu, s.resident = processes.tree(p.cmd.Process.Pid)
	if p.database != 0 {
		s.database, _ = processes.tree(p.database)
	}
	return s, nil
}

// settle waits until the Postgres of a server, if it has one, has nothing to do.
func (p *process) settle() {
	const lag, step, idle, most = 1200 * time.Millisecond, 200 * time.Millisecond, 0.02, 50
	if p.database == 0 {
		return
	}
	time.Sleep(lag)
	before, _ := readProcesses().tree(p.database)
	for range most {
		time.Sleep(step)
		now, _ := readProcesses().tree(p.database)
		if now-before <= idle {
			return
		}
		before = now
	}
}

var mallocsLine = regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`)

func parseMallocs(metrics string) (float64, error) {
	found := mallocsLine.FindStringSubmatch(metrics)
	if found == nil {
		return 0, errors.New("the metrics have no go_memstats_mallocs_total")
	}
	return strconv.ParseFloat(found[1], 64)
}

type processes []procfs.ProcStat

// readProcesses returns the processes of the machine.
func readProcesses() (list processes) {
	for _, p := range must(procfs.AllProcs()) {
		if stat, err := p.Stat(); err == nil { // otherwise it has ended
			list = append(list, stat)
		}
	}
	return list
}

// tree returns the CPU time in seconds, ended children included, and the resident
// memory of a process and its descendants.
func (list processes) tree(pid int) (cpu float64, resident int) {
	const ticks = 100 // a second: USER_HZ
	for _, p := range list {
		switch pid {
		case p.PID:
			cpu += float64(int(p.UTime+p.STime)+p.CUTime+p.CSTime) / ticks
			resident += p.ResidentMemory()
		case p.PPID:
			childCPU, childResident := list.tree(p.PID)
			cpu, resident = cpu+childCPU, resident+childResident
		}
	}
	return cpu, resident
}
