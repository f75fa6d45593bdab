package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain runs the program itself if the test has started it as a child.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_SERVICE") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// child is the program as a process of its own.
type child struct {
	*exec.Cmd
	api, probes string
	last        string // line of output
	read        chan struct{}
}

// start starts the program, and waits for the addresses of its servers.
func start(t *testing.T, env ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), read: make(chan struct{})}
	dir := t.TempDir()
	c.Env = append(append(os.Environ(), "RUN_SERVICE=1", "TMPDIR="+dir, "API_ADDR=127.0.0.1:0", "PROBE_ADDR=127.0.0.1:0"), env...)
	errors := new(strings.Builder)
	c.Stderr = errors
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		if t.Failed() {
			t.Logf("the log of the program:\n%s", errors)
		}
		if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 && !t.Failed() {
			t.Errorf("the program has left %v", left)
		}
	})
	started := make(chan struct{})
	go func() {
		defer close(c.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			name, addr, _ := strings.Cut(lines.Text(), " ")
			switch name {
			case "api":
				c.api = "http://" + addr
			case "probes":
				c.probes = "http://" + addr
			default:
				c.last = lines.Text()
			}
			if c.last == "" && c.api != "" && c.probes != "" {
				close(started)
			}
		}
	}()
	select {
	case <-started:
	case <-time.After(time.Minute):
		t.Fatal("the program does not start")
	}
	return c
}

// get returns the status and the body of an answer.
func get(url string) (int, string) {
	r, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(body)
}

// TestSIGTERMUnderLoad: nothing is lost, no request fails because a producer was closed too early, and
// the program ends in time.
func TestSIGTERMUnderLoad(t *testing.T) {
	c := start(t, "NSQX_CONCURRENCY=4", "NSQX_ENVELOPE=true")
	deadline := time.Now().Add(time.Minute)
	for code := 0; code != 200; code, _ = get(c.probes + "/readyz") {
		if time.Now().After(deadline) {
			t.Fatal("the program is not ready")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for path, part := range map[string]string{"/livez": "ok", "/statsz": `"topic": "orders"`, "/loadz": `"load"`} {
		if code, body := get(c.probes + path); code != 200 || !strings.Contains(body, part) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	var accepted, refused atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := 0; ; i++ {
				r, err := http.Post(c.api+"/orders", "application/json", strings.NewReader(fmt.Sprintf(`{"ID": %d}`, i)))
				if err != nil {
					return // the server is down
				}
				r.Body.Close()
				if r.StatusCode == http.StatusAccepted {
					accepted.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	clients.Wait()
	<-c.read
	if err := c.Wait(); err != nil {
		t.Errorf("the program ends with %v", err)
	}
	if took := time.Since(began); took > 27*time.Second {
		t.Errorf("the end took %v", took)
	}
	var confirmed, handled, left int64
	if _, err := fmt.Sscanf(c.last, "confirmed %d handled %d left %d", &confirmed, &handled, &left); err != nil {
		t.Fatalf("the last line is %q", c.last)
	}
	// A publish whose request was given up may be confirmed all the same; none may be missing.
	if confirmed == 0 || accepted.Load() > confirmed || handled+left != confirmed {
		t.Errorf("%d accepted, %s", accepted.Load(), c.last)
	}
	if n := refused.Load(); n > 0 {
		t.Errorf("%d requests were refused", n)
	}
	t.Logf("%d accepted, %s", accepted.Load(), c.last)
}

// TestBadSettings: the program ends with the fault of a setting.
func TestBadSettings(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "RUN_SERVICE=1", "TMPDIR="+t.TempDir(), "NSQX_CONCURRENCY=0")
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "NSQX_CONCURRENCY is 0, want 1 to 65536") {
		t.Errorf("the program ends with %v:\n%s", err, out)
	}
}
