package observe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nsqx/nsqx/observe"
)

// report writes each lost connection as a line of JSON.
func report(w io.Writer) observe.Hooks {
	lines := json.NewEncoder(w)
	return observe.Hooks{
		OnDisconnect: func(e observe.ConnEvent) {
			if e.Err != nil {
				_ = lines.Encode(e)
			}
		},
	}
}

// leftBehind describes an error of Consumer.Run.
func leftBehind(err error) string {
	end, ok := errors.AsType[*observe.ShutdownError](err)
	if !ok {
		return "nothing"
	}
	return fmt.Sprintf("%d messages, %d handlers", len(end.Abandoned)+len(end.Unanswered), end.Running)
}

// A service passes the hooks to nsqx.WithHooks, which calls them. This example calls them itself.
func Example() {
	hooks := report(os.Stdout)
	hooks.OnDisconnect(observe.ConnEvent{
		NSQD: "10.0.0.7:4150", Topic: "orders", Channel: "billing",
		Time: time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC), Err: io.EOF, Retry: 250 * time.Millisecond,
	})
	fmt.Println("left behind:", leftBehind(&observe.ShutdownError{Abandoned: make([]observe.Abandoned, 2), Running: 1}))
	// Output:
	// {"nsqd":"10.0.0.7:4150","topic":"orders","channel":"billing","time":"2026-03-01T12:00:00Z","error":"EOF","retry_seconds":0.25}
	// left behind: 2 messages, 1 handlers
}
