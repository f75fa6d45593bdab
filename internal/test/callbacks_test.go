package test

import (
	"log/slog"
	"net"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// TestConsumerCallbacks: whatever user code does, the process lives, no message is lost, the consumer
// ends within its time, and something tells of it.
func TestConsumerCallbacks(t *testing.T) {
	for name, row := range consumerCallbacks() {
		eachWay(t, name, row.made, func(t *testing.T, m *misbehaviour) {
			d := newDay(t)
			c, err := d.consumer(row, m)
			if err != nil {
				if !row.made {
					t.Errorf("the constructor has failed: %v", err)
				}
				return
			}
			took, err := d.pass(c, row.drift)
			d.wantSafe()
			if most := dayEnds + 2*time.Second; took > most {
				t.Errorf("the shutdown took %v, want at most %v (%v)", took, most, err)
			}
			if m.calls.Load() == 0 {
				t.Error("it was not called")
			}
			if !row.silent && err == nil && !d.log.mentions(traces...) {
				t.Errorf("nothing tells of it:\n%s", d.log.text())
			}
			if m.once && m.way != "hangs" || row.harmless && m.way != "hangs" {
				if n := billing(d.server).Finished; n != len(d.bodies) {
					t.Errorf("%d of %d messages were finished", n, len(d.bodies))
				}
			}
			close(m.release)
			time.Sleep(time.Minute)
			synctest.Wait()
		})
	}
}

// traces are what tells of user code that misbehaves.
var traces = []string{"panic", "Goexit", "not returned", "outlives its message", errOther.Error()}

// TestPublisherCallbacks is TestConsumerCallbacks for producers: a publish that succeeds is there, one
// that was not sent is not, and Close returns in time.
func TestPublisherCallbacks(t *testing.T) {
	for name, row := range publisherCallbacks() {
		eachWay(t, "publisher's "+name, row.made, func(t *testing.T, m *misbehaviour) {
			d := newDay(t)
			p, err := d.producer(row, m)
			if err != nil {
				if !row.made {
					t.Errorf("the constructor has failed: %v", err)
				}
				return
			}
			failed, took, err := d.publishAll(p, func() {
				if row.done {
					m.do()
				}
			})
			if most := closeEnds + 2*time.Second; took > most {
				t.Errorf("Close took %v, want at most %v (%v)", took, most, err)
			}
			if m.calls.Load() == 0 {
				t.Error("it was not called")
			}
			if !row.silent && failed == 0 && err == nil && !d.log.mentions(traces...) {
				t.Errorf("nothing tells of it:\n%s", d.log.text())
			}
			if row.harmless && failed > 0 {
				t.Errorf("%d publishes have failed", failed)
			}
			close(m.release)
			time.Sleep(time.Minute)
			synctest.Wait()
		})
	}
}

// TestCallbacksAreComplete: the tables miss no hook, no method of telemetry, no func of a Config, and
// no option that takes user code.
func TestCallbacksAreComplete(t *testing.T) {
	rows := make(map[string]bool)
	for name := range consumerCallbacks() {
		rows[name] = true
	}
	for name := range publisherCallbacks() {
		rows[name] = true
	}
	for _, tt := range []struct {
		prefix string
		of     reflect.Type
		not    []string // never called, or said why
	}{
		{"Hooks", reflect.TypeFor[observe.Hooks](), nil},
		{"Telemetry", reflect.TypeFor[observe.Telemetry](), []string{"Batch"}},
		{"conn.Config", reflect.TypeFor[conn.Config](), []string{"TLS"}}, // its callbacks: tests of conn
		{"LookupdClient", reflect.TypeFor[nsqx.LookupdClient](), nil},
		{"slog.Handler", reflect.TypeFor[slog.Handler](), []string{"WithGroup"}},
		{"conn.Config", reflect.TypeFor[net.Conn](), []string{"LocalAddr", "RemoteAddr", "SetDeadline"}},
		{"Policy", reflect.TypeFor[retry.Policy](), nil},
		{"Codec", reflect.TypeFor[codec.Codec[string]](), nil},
	} {
		for _, name := range callable(tt.of) {
			if !rows[tt.prefix+"."+name] && !slices.Contains(tt.not, name) {
				t.Errorf("no row for %s.%s", tt.prefix, name)
			}
		}
	}
	elsewhere := map[string]string{ // options whose user code has rows of its own
		"WithConn": "conn.Config", "WithLogger": "slog.Handler", "WithTelemetry": "Telemetry", "WithHooks": "Hooks", "WithRetry": "Policy",
		"WithLookupdClient": "LookupdClient", "WithRunLogger": "slog.Handler", "WithRedriveFilter": "TestRedriveFilterMisbehaves",
	}
	for _, option := range userCode(t, "../..") {
		if !rows[option] && elsewhere[option] == "" {
			t.Errorf("no row for %s", option)
		}
	}
}

// callable returns the methods of an interface, or the fields of a struct that hold user code.
func callable(of reflect.Type) (names []string) {
	if of.Kind() == reflect.Interface {
		for m := range of.Methods() {
			names = append(names, m.Name)
		}
		return names
	}
	for f := range of.Fields() {
		if f.Type.Kind() == reflect.Func || f.Type.Kind() == reflect.Pointer {
			names = append(names, f.Name)
		}
	}
	return names
}
