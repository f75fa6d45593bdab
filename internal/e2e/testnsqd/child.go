package testnsqd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
)

// childEnv makes a test binary run as nsqd. It has a childConfig as JSON.
const childEnv = "NSQX_CHILD_NSQD"

type childConfig struct {
	Dir, TCP, HTTP string
	ID             int64
	MsgTimeout     time.Duration
	SyncEvery      int64
}

// Child is an nsqd in its own process, which can be killed and frozen. It syncs each message to
// disk. It is not safe for concurrent use.
type Child struct {
	tb   testing.TB
	cfg  childConfig
	cmd  *exec.Cmd
	in   io.Closer // closing it ends the child
	http http.Client
}

// ChildMain runs nsqd if StartChild has started this process, and reports whether it did. TestMain
// must call it first and return if it returns true.
func ChildMain() bool {
	v, ok := os.LookupEnv(childEnv)
	if !ok {
		return false
	}
	var cfg childConfig
	if err := json.Unmarshal([]byte(v), &cfg); err != nil {
		panic(err)
	}
	s := &Server{id: cfg.ID, dir: cfg.Dir, tcp: cfg.TCP, http: cfg.HTTP, mutate: []func(*nsqd.Options){
		func(o *nsqd.Options) { o.MsgTimeout, o.MemQueueSize, o.SyncEvery = cfg.MsgTimeout, 0, cfg.SyncEvery },
	}}
	if err := s.launch(); err != nil {
		panic(err)
	}
	in := s.running.Load()
	fmt.Println(in.nsqd.RealTCPAddr(), in.nsqd.RealHTTPAddr())
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent at the latest
	in.nsqd.Exit()
	<-in.main
	return true
}

// StartChild runs an nsqd in its own process until the test ends.
func StartChild(tb testing.TB, msgTimeout time.Duration) *Child {
	tb.Helper()
	return StartChildSyncing(tb, msgTimeout, 1)
}

// StartChildSyncing is StartChild for an nsqd that syncs its disk after so many
// messages only, as it does by default: when it is killed, it has read messages
// that it will read again.
func StartChildSyncing(tb testing.TB, msgTimeout time.Duration, every int64) *Child {
	tb.Helper()
	c := &Child{
		tb: tb,
		cfg: childConfig{
			Dir: tb.TempDir(), TCP: "127.0.0.1:0", HTTP: "127.0.0.1:0", ID: lastID.Add(1) % 1024,
			MsgTimeout: msgTimeout, SyncEvery: every,
		},
		http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startTimeout},
	}
	tb.Cleanup(c.Kill)
	if err := c.launch(); err != nil {
		tb.Fatalf("testnsqd: start child: %v", err)
	}
	return c
}

// Addr returns the address for clients as host:port. It does not change.
func (c *Child) Addr() string { return c.cfg.TCP }

// Kill ends the process with SIGKILL and waits for it. It does nothing if the process does not run.
func (c *Child) Kill() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // returns the signal as an error
	_ = c.in.Close()
	c.cmd = nil
}

// Restart starts nsqd after Kill, with the same ports and directory.
func (c *Child) Restart() {
	c.tb.Helper()
	for deadline := time.Now().Add(restartTimeout); ; time.Sleep(pollInterval) {
		err := c.launch()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.tb.Fatalf("testnsqd: restart child: %v", err)
		}
	}
}

// Freeze stops the process with SIGSTOP. The kernel still accepts connections and acknowledges
// data.
func (c *Child) Freeze() {
	c.tb.Helper()
	c.signal(syscall.SIGSTOP)
	// Until it has stopped, it may still answer.
	if _, err := syscall.Wait4(c.cmd.Process.Pid, nil, syscall.WUNTRACED, nil); err != nil {
		c.tb.Fatalf("testnsqd: wait for child to stop: %v", err)
	}
}

// Thaw ends Freeze.
func (c *Child) Thaw() { c.signal(syscall.SIGCONT) }

func (c *Child) signal(sig syscall.Signal) {
	c.tb.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.tb.Fatalf("testnsqd: %v to child: %v", sig, err)
	}
}

// Publish publishes one message for each body.
func (c *Child) Publish(topic string, bodies ...[]byte) {
	c.tb.Helper()
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(bodies))))
	for _, body := range bodies {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body))))
		b.Write(body)
	}
	c.post("/mpub?binary=true&topic="+topic, &b)
}

// EnsureChannel creates the topic and the channel if they do not exist.
func (c *Child) EnsureChannel(topic, channel string) {
	c.tb.Helper()
	c.post("/topic/create?topic="+topic, nil)
	c.post("/channel/create?topic="+topic+"&channel="+channel, nil)
}

// Channel returns the state of a channel, or zeros if there is no such channel.
func (c *Child) Channel(topic, channel string) ChannelStats {
	c.tb.Helper()
	res, err := c.http.Get("http://" + c.cfg.HTTP + "/stats?format=json&topic=" + topic + "&channel=" + channel)
	if err != nil {
		c.tb.Fatalf("testnsqd: child: %v", err)
	}
	defer res.Body.Close()
	var stats struct {
		Topics []struct {
			Channels []struct {
				Depth    int64  `json:"depth"`
				InFlight int    `json:"in_flight_count"`
				Deferred int    `json:"deferred_count"`
				Messages uint64 `json:"message_count"`
				Requeued uint64 `json:"requeue_count"`
				TimedOut uint64 `json:"timeout_count"`
				Clients  int    `json:"client_count"`
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&stats); err != nil {
		c.tb.Fatalf("testnsqd: child's stats: %v", err)
	}
	for _, t := range stats.Topics {
		for _, ch := range t.Channels {
			return ChannelStats(ch)
		}
	}
	return ChannelStats{}
}

func (c *Child) post(path string, body io.Reader) {
	c.tb.Helper()
	res, err := c.http.Post("http://"+c.cfg.HTTP+path, "", body)
	if err != nil {
		c.tb.Fatalf("testnsqd: child: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		c.tb.Fatalf("testnsqd: child: %s: %s", path, res.Status)
	}
}

func (c *Child) launch() error {
	cfg, err := json.Marshal(c.cfg)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(cfg))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.in = cmd, in
	line, err := bufio.NewReader(out).ReadString('\n')
	tcp, http, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		c.Kill()
		return fmt.Errorf("child says %q: %w", line, err)
	}
	c.cfg.TCP, c.cfg.HTTP = tcp, http
	return nil
}
