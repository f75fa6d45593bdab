package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// adaptedApps builds the programs of nsq with the import of go-nsq replaced by that of contrib/gonsq.
var adaptedApps = built(adaptNSQ, outside, appPackages()...)

func adaptNSQ() (dir string, err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	if dir, err = copyNSQ(); err != nil {
		return "", err
	}
	for _, app := range apps {
		files, err := filepath.Glob(filepath.Join(dir, "apps", app, "*.go"))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			text = bytes.ReplaceAll(text, []byte(`"github.com/nsqio/go-nsq"`), []byte(`nsq "github.com/nsqx/nsqx/contrib/gonsq"`))
			if err := os.WriteFile(file, text, 0o600); err != nil {
				return "", err
			}
		}
	}
	const nsqx, gonsq = "github.com/nsqx/nsqx", "github.com/nsqx/nsqx/contrib/gonsq"
	_, err = goCommand(dir, outside, "mod", "edit", "-go=1.26.0", "-require="+nsqx+"@v0.0.0", "-require="+gonsq+"@v0.0.0",
		"-replace="+nsqx+"="+root, "-replace="+gonsq+"="+filepath.Join(root, "contrib", "gonsq"))
	return dir, err
}

// appLines are the sorted lines of a text, each once.
func appLines(text string) []string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(all)
	return slices.Compact(all)
}

// fed runs a program that consumes from the topic: it gets 300 messages, nsqd is restarted meanwhile, and
// Ctrl-C ends it. stopped is called with the messages that it should have handled.
func fed(t *testing.T, path string, args ...string) (want []string) {
	t.Helper()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	args = append(args, "--topic="+topic, "--nsqd-tcp-address="+s.Addr(), "--channel="+channel, "--consumer-opt=lookupd_poll_interval,100ms")
	a := startApp(t, path, "", args...)
	for round := range 3 {
		bodies := numbered(fmt.Sprint("m", round), 100)
		publish(t, s, topic, bodies...)
		for _, b := range bodies {
			want = append(want, string(b))
		}
		eventually(t, func() bool {
			c := s.Channel(topic, channel)
			return c.Messages > 0 && c.Unfinished() == 0
		}, "%s to finish round %d", filepath.Base(path), round)
		if round == 1 {
			s.Restart()
			eventually(t, func() bool { return s.Channel(topic, channel).Clients > 0 }, "%s to come back", filepath.Base(path))
		}
	}
	a.stop()
	slices.Sort(want)
	return want
}

// TestAppsOfNSQ: the programs of nsq compile with the import changed, and do what the originals do.
func TestAppsOfNSQ(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func() (string, error){"original": originalApps, "ours": adaptedApps} {
		t.Run(name, func(t *testing.T) {
			bin := func(app string) string { return executable(t, build, app) }
			t.Run("nsq_to_file", func(t *testing.T) {
				t.Parallel()
				out := t.TempDir()
				want := fed(t, bin("nsq_to_file"), "--output-dir="+out, "--sync-interval=200ms", "--max-in-flight=50")
				files, _ := filepath.Glob(filepath.Join(out, "*"))
				var text []byte
				for _, file := range files {
					part, err := os.ReadFile(file)
					if err != nil {
						t.Error(err)
					}
					text = append(text, part...)
				}
				if got := appLines(string(text)); !slices.Equal(got, want) {
					t.Errorf("%d lines in %d files, want %d", len(got), len(files), len(want))
				}
			})
			t.Run("nsq_to_http", func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				var got []string
				refused := false
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					mu.Lock()
					defer mu.Unlock()
					if string(body) == "m1-7" && !refused {
						refused = true
						w.WriteHeader(http.StatusInternalServerError)
						return
					}
					got = append(got, string(body))
				}))
				defer srv.Close()
				want := fed(t, bin("nsq_to_http"), "--post="+srv.URL, "--n=4", "--max-in-flight=20",
					"--consumer-opt=default_requeue_delay,50ms", "--consumer-opt=max_backoff_duration,100ms")
				slices.Sort(got)
				if got = slices.Compact(got); !slices.Equal(got, want) || !refused {
					t.Errorf("%d requests, want %d", len(got), len(want))
				}
			})
			t.Run("nsq_to_nsq", func(t *testing.T) {
				t.Parallel()
				to := testnsqd.Start(t)
				want := fed(t, bin("nsq_to_nsq"), "--destination-nsqd-tcp-address="+to.Addr(), "--destination-topic=copy", "--max-in-flight=20")
				if got := copied(t, to, len(want)); !slices.Equal(got, want) {
					t.Errorf("%d messages, want %d", len(got), len(want))
				}
			})
			t.Run("nsq_tail", func(t *testing.T) {
				t.Parallel()
				s := testnsqd.Start(t)
				s.EnsureChannel(topic, "tail")
				a := startApp(t, bin("nsq_tail"), "", "--topic="+topic, "--channel=tail", "--nsqd-tcp-address="+s.Addr(), "-n=20", "--print-topic")
				eventually(t, func() bool { return s.Channel(topic, "tail").Clients > 0 }, "nsq_tail to subscribe")
				s.Publish(topic, numbered("m", 30)...)
				a.wait()
				got := strings.Split(strings.TrimSpace(a.out.String()), "\n")
				if len(got) < 20 || got[0] != topic+" | m-0" || got[19] != topic+" | m-19" {
					t.Errorf("it printed %q", got)
				}
			})
			t.Run("to_nsq", func(t *testing.T) {
				t.Parallel()
				to := testnsqd.Start(t)
				var input strings.Builder
				var want []string
				for _, b := range numbered("m", 300) {
					fmt.Fprintf(&input, "%s\n", b)
					want = append(want, string(b))
				}
				slices.Sort(want)
				startApp(t, bin("to_nsq"), input.String(), "--topic=copy", "--nsqd-tcp-address="+to.Addr()).wait()
				if got := copied(t, to, len(want)); !slices.Equal(got, want) {
					t.Errorf("%d messages, want %d", len(got), len(want))
				}
			})
		})
	}
}

// copied returns the n messages of the topic "copy", sorted, each once.
func copied(t *testing.T, s *testnsqd.Server, n int) []string {
	t.Helper()
	got := collect(t, s, "copy", channel, n)
	slices.Sort(got)
	return slices.Compact(got)
}
