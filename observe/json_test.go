// Tests of json.go, and of the JSON of the events in hooks.go and the counters in stats.go.

package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

var (
	noon    = time.Date(2026, time.March, 1, 12, 0, 0, 5e8, time.UTC)
	errLost = errors.New(`lost "here" & <there>`)
	anID    = handler.ID([]byte("0123456789abcdef"))
)

// jsonTypes are all types whose JSON this package defines.
var jsonTypes = []any{
	Stats{}, InProgress{}, PublisherStats{}, ConnStats{}, LookupStats{}, ConnEvent{}, LookupEvent{}, BackoffEvent{}, GivenBackEvent{}, DriftEvent{}, OverdueEvent{},
}

func TestJSONGolden(t *testing.T) {
	for name, tt := range map[string]struct {
		value any
		want  string
	}{
		"ConnEvent": {
			ConnEvent{NSQD: "nsqd:4150", Topic: "orders", Channel: "billing", Time: noon, Err: errLost, Retry: 250 * time.Millisecond},
			`{"nsqd":"nsqd:4150","topic":"orders","channel":"billing","time":"2026-03-01T12:00:00.5Z",` +
				`"error":"lost \"here\" \u0026 \u003cthere\u003e","retry_seconds":0.25}`,
		},
		"zero ConnEvent": {ConnEvent{}, `{"nsqd":"","topic":"","channel":"","retry_seconds":0}`},
		"LookupEvent": {
			LookupEvent{Source: "lookup:4161", Topic: "orders", Channel: "billing", Time: noon, Duration: 2 * time.Second, Found: 3, Err: ErrNoTopic},
			`{"source":"lookup:4161","topic":"orders","channel":"billing","time":"2026-03-01T12:00:00.5Z",` +
				`"duration_seconds":2,"found":3,"error":"nsqx: topic not found"}`,
		},
		"zero LookupEvent": {LookupEvent{}, `{"source":"","topic":"","channel":"","duration_seconds":0,"found":0}`},
		"BackoffEvent": {
			BackoffEvent{Topic: "orders", Channel: "billing", Time: noon, State: BackoffOpen, Delay: time.Minute, Err: errors.New("down"), Failed: 9, Results: 10},
			`{"topic":"orders","channel":"billing","time":"2026-03-01T12:00:00.5Z","state":"open","delay_seconds":60,` +
				`"error":"down","failed":9,"results":10}`,
		},
		"zero BackoffEvent": {BackoffEvent{}, `{"topic":"","channel":"","state":"","delay_seconds":0,"failed":0,"results":0}`},
		"GivenBackEvent": {
			GivenBackEvent{Topic: "orders", Channel: "billing", Time: noon, Reason: "stall", Messages: 3},
			`{"topic":"orders","channel":"billing","time":"2026-03-01T12:00:00.5Z","reason":"stall","messages":3}`,
		},
		"DriftEvent": {
			DriftEvent{NSQD: "nsqd:4150", Topic: "orders", Channel: "billing", Time: noon, Allowance: 2, Err: errLost, Renewed: true},
			`{"nsqd":"nsqd:4150","topic":"orders","channel":"billing","time":"2026-03-01T12:00:00.5Z","allowance":2,` +
				`"error":"lost \"here\" \u0026 \u003cthere\u003e","renewed":true}`,
		},
		"OverdueEvent": {
			OverdueEvent{NSQD: "nsqd:4150", Topic: "orders", Channel: "billing", Time: noon, ID: anID, Age: 61 * time.Second},
			`{"nsqd":"nsqd:4150","topic":"orders","channel":"billing","time":"2026-03-01T12:00:00.5Z",` +
				`"id":"0123456789abcdef","age_seconds":61}`,
		},
		"zero OverdueEvent": {OverdueEvent{}, `{"nsqd":"","topic":"","channel":"","id":"","age_seconds":0}`},
		"LookupStats": {
			LookupStats{Name: "lookup:4161", Polls: 4, Errors: 1, Found: 2, LastPoll: noon, LastGood: noon, LastErr: errLost},
			`{"name":"lookup:4161","polls":4,"errors":1,"found":2,"last_poll":"2026-03-01T12:00:00.5Z","last_good":"2026-03-01T12:00:00.5Z",` +
				`"last_error":"lost \"here\" \u0026 \u003cthere\u003e","register_errors":0}`,
		},
		"zero LookupStats": {LookupStats{}, `{"name":"","polls":0,"errors":0,"found":0,"register_errors":0}`},
		"ConnStats": {
			ConnStats{
				Stats: conn.Stats{
					Addr: "nsqd:4150", Since: noon, RTT: time.Millisecond, MaxRDY: 1, Quota: 2, Window: 3, RDY: 4, InFlight: 5, Allowance: 18, LastRead: noon,
					Published: 6, Received: 7, Bytes: 8, TooLarge: 22, Finished: 9, Requeued: 10, Touched: 11, Expired: 12, Lost: 13, Refused: 14,
					Drifted: 19, Probed: 20,
					Writes: 15, BytesWritten: 16,
				},
				Connected: true, Dials: 17, Renewed: 21, LastErr: errLost, RetryAt: noon,
			},
			`{"addr":"nsqd:4150","since":"2026-03-01T12:00:00.5Z","rtt_seconds":0.001,"max_rdy":1,"quota":2,"window":3,"rdy":4,` +
				`"in_flight":5,"allowance":18,"last_read":"2026-03-01T12:00:00.5Z","published":6,"received":7,"bytes":8,"too_large":22,"finished":9,"requeued":10,` +
				`"touched":11,"expired":12,"lost":13,"refused":14,"drifted":19,"probed":20,"writes":15,"bytes_written":16,"connected":true,"dials":17,"renewed":21,` +
				`"last_error":"lost \"here\" \u0026 \u003cthere\u003e","retry_at":"2026-03-01T12:00:00.5Z"}`,
		},
		"zero ConnStats": {ConnStats{}, zeroConn},
		"Stats": {
			Stats{
				Topic: "orders", Channel: "billing", Concurrency: 1, MaxInFlight: 2, Running: 3, Queued: 4, Paused: true, Backoff: true,
				BackoffLevel: 5, Overdue: 21, HighestAttempt: 22, OldestAge: 23 * time.Second,
				InProgress: []InProgress{{ID: anID, NSQD: "nsqd:4150", Age: time.Second, Attempt: 24, Overdue: true}}, Finished: 6, Requeued: 7, Dropped: 8, DeadLettered: 9, Interrupted: 10, Expired: 11, Lost: 12, Skipped: 21,
				GivenBack: 20, Early: 25, Stale: 26, EnvelopesSkipped: 13, EventsDropped: 14, Connections: make([]ConnStats, 2), Lookups: make([]LookupStats, 1),
			},
			`{"topic":"orders","channel":"billing","concurrency":1,"max_in_flight":2,"running":3,"unanswered":0,"queued":4,"paused":true,` +
				`"backoff":true,"backoff_level":5,"in_progress":[{"id":"0123456789abcdef","nsqd":"nsqd:4150","age_seconds":1,"attempt":24,"overdue":true}],` +
				`"overdue":21,"highest_attempt":22,"oldest_age_seconds":23,"finished":6,"requeued":7,"dropped":8,"dead_lettered":9,"interrupted":10,` +
				`"expired":11,"lost":12,"skipped":21,"given_back":20,"early":25,"stale":26,"envelopes_skipped":13,"events_dropped":14,"connections":[` + zeroConn + `,` + zeroConn +
				`],"lookups":[{"name":"","polls":0,"errors":0,"found":0,"register_errors":0}]}`,
		},
		"zero Stats": {
			Stats{},
			`{"topic":"","channel":"","concurrency":0,"max_in_flight":0,"running":0,"unanswered":0,"queued":0,"paused":false,"backoff":false,` +
				`"backoff_level":0,"in_progress":[],"overdue":0,"highest_attempt":0,"oldest_age_seconds":0,"finished":0,"requeued":0,"dropped":0,"dead_lettered":0,"interrupted":0,"expired":0,"lost":0,"skipped":0,"given_back":0,"early":0,"stale":0,` +
				`"envelopes_skipped":0,"events_dropped":0,"connections":[],"lookups":[]}`,
		},
		"PublisherStats": {
			PublisherStats{
				InFlight: 1, Confirmed: 2, Rejected: 3, NotSent: 4, Unconfirmed: 5, EnvelopesSkipped: 6, EventsDropped: 7,
				Connections: make([]ConnStats, 1), Lookups: make([]LookupStats, 1),
			},
			`{"in_flight":1,"confirmed":2,"rejected":3,"not_sent":4,"unconfirmed":5,"envelopes_skipped":6,"events_dropped":7,` +
				`"connections":[` + zeroConn + `],"lookups":[{"name":"","polls":0,"errors":0,"found":0,"register_errors":0}]}`,
		},
		"zero PublisherStats": {
			PublisherStats{},
			`{"in_flight":0,"confirmed":0,"rejected":0,"not_sent":0,"unconfirmed":0,"envelopes_skipped":0,"events_dropped":0,` +
				`"connections":[],"lookups":[]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(tt.value)
			check.WantErr(t, "Marshal", err, nil)
			check.Want(t, "JSON", string(text), tt.want)
			pointer := reflect.New(reflect.TypeOf(tt.value))
			pointer.Elem().Set(reflect.ValueOf(tt.value))
			text, err = json.Marshal(pointer.Interface())
			check.WantErr(t, "Marshal of a pointer", err, nil)
			check.Want(t, "JSON of a pointer", string(text), tt.want)
		})
	}
}

// zeroConn is the JSON of a zero ConnStats.
const zeroConn = `{"addr":"","rtt_seconds":0,"max_rdy":0,"quota":0,"window":0,"rdy":0,"in_flight":0,"allowance":0,"published":0,"received":0,` +
	`"bytes":0,"too_large":0,"finished":0,"requeued":0,"touched":0,"expired":0,"lost":0,"refused":0,"drifted":0,"probed":0,"writes":0,"bytes_written":0,` +
	`"connected":false,"dials":0,"renewed":0}`

// TestJSONHasEveryField fills each field with a value of its own, and looks for that value under a
// key made of the field's name.
func TestJSONHasEveryField(t *testing.T) {
	for _, zero := range jsonTypes {
		typ := reflect.TypeOf(zero)
		t.Run(typ.Name(), func(t *testing.T) {
			n := 0
			v := reflect.New(typ).Elem()
			fill(t, v, &n)
			text, err := json.Marshal(v.Interface())
			if err != nil {
				t.Fatal(err)
			}
			var got any
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			wantFields(t, typ.Name(), v, got)
		})
	}
}

// fill sets each field to a value that depends on n, which it increments.
func fill(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Duration:
		v.SetInt(int64(*n) * int64(time.Second))
		return
	case time.Time:
		v.Set(reflect.ValueOf(noon.Add(time.Duration(*n) * time.Hour)))
		return
	case handler.ID:
		v.Set(reflect.ValueOf(handler.ID([]byte(fmt.Sprintf("%016x", *n)))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(t, f, n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.Interface: // an error
		v.Set(reflect.ValueOf(fmt.Errorf("error %d", *n)))
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// wantFields checks that got, decoded JSON, has exactly the fields of v.
func wantFields(t *testing.T, path string, v reflect.Value, got any) {
	t.Helper()
	object, ok := got.(map[string]any)
	if !ok {
		t.Errorf("%s is %v, want an object", path, got)
		return
	}
	leaves := flatten(v)
	check.Want(t, "keys of "+path, len(object), len(leaves))
	for name, f := range leaves {
		key, value := find(object, name, f)
		if key == "" {
			t.Errorf("%s.%s is not in %v", path, name, object)
			continue
		}
		switch x := f.Interface().(type) {
		case time.Duration:
			check.Want(t, key, value, any(x.Seconds()))
		case time.Time:
			check.Want(t, key, value, any(x.Format(time.RFC3339Nano)))
		case error:
			check.Want(t, key, value, any(x.Error()))
		case handler.ID, string, bool, BackoffState:
			check.Want(t, key, fmt.Sprint(value), fmt.Sprint(x))
		case int, uint64:
			check.Want(t, key, fmt.Sprint(value), fmt.Sprint(x))
		default: // a slice of structs
			list, _ := value.([]any)
			check.Want(t, "length of "+key, len(list), f.Len())
			for i, element := range list {
				wantFields(t, fmt.Sprintf("%s.%s[%d]", path, name, i), f.Index(i), element)
			}
		}
	}
}

// flatten returns the exported fields of a struct by name, with those of embedded structs.
func flatten(v reflect.Value) map[string]reflect.Value {
	all := make(map[string]reflect.Value)
	for f, value := range v.Fields() {
		switch {
		case f.Anonymous:
			for name, inner := range flatten(value) {
				all[name] = inner
			}
		case f.IsExported():
			all[f.Name] = value
		}
	}
	return all
}

// find returns the key of a field, whatever its underscores are.
func find(object map[string]any, name string, f reflect.Value) (string, any) {
	want := strings.ToLower(name)
	switch f.Interface().(type) {
	case time.Duration:
		want += "seconds"
	case error:
		want = strings.TrimSuffix(want, "err") + "error"
	}
	for key, value := range object {
		if strings.ReplaceAll(key, "_", "") == want {
			return key, value
		}
	}
	return "", nil
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"Topic": "topic", "InFlight": "in_flight", "NSQD": "nsqd", "MaxRDY": "max_rdy", "RDYCount": "rdy_count", "RTT": "rtt",
		"Err": "error", "LastErr": "last_error", "Errors": "errors", "ID": "id", "MaxInFlightBytes": "max_in_flight_bytes",
		"LookupdURL": "lookupd_url", "A": "a", "": "",
	} {
		check.Want(t, name, snake(name), want)
	}
}

// TestJSONFails: an error of a value is the error of the whole.
func TestJSONFails(t *testing.T) {
	type inner struct{ Bad chan int }
	for name, v := range map[string]any{
		"field":    struct{ Bad chan int }{},
		"embedded": struct{ inner }{},
		"element":  struct{ List []inner }{[]inner{{}}},
		"struct":   struct{ In inner }{},
	} {
		text, err := marshal(v)
		if _, ok := errors.AsType[*json.UnsupportedTypeError](err); !ok || text != nil {
			t.Errorf("%s: got %q and error %v, want an UnsupportedTypeError", name, text, err)
		}
	}
}
