package codec_test

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/codec"
)

type payload struct {
	A int     `json:"a"`
	F float64 `json:"f"`
	S string  `json:"s"`
	M struct {
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"m"`
}

type (
	syntaxError = *json.SyntaxError
	typeError   = *json.UnmarshalTypeError
)

// Every kind of malformed or unusual body. A row that does not concern one option has the same
// result without options and with every strict option.
func TestJSONInput(t *testing.T) {
	var (
		lax     = codec.JSON[payload]()
		unknown = codec.JSON[payload](codec.DisallowUnknownFields())
		utf8    = codec.JSON[payload](codec.StrictUTF8())
		strict  = codec.JSON[payload](codec.DisallowUnknownFields(), codec.StrictUTF8())
		deep    = strings.Repeat(`[`, 1e6) + strings.Repeat(`]`, 1e6)
	)
	type codecs map[string]codec.Codec[payload]
	all := codecs{"lax": lax, "strict": strict}

	for _, tt := range []struct {
		row    string
		codecs codecs
		body   string
		want   payload
		err    string // part of the text
		as     any    // type of the cause
	}{
		{row: "empty", codecs: all, body: "", err: "unexpected end of JSON input", as: new(syntaxError)},
		{row: "empty but for whitespace", codecs: all, body: " \r\n", err: "unexpected end of JSON input", as: new(syntaxError)},
		{row: "truncated", codecs: all, body: `{"a":1`, err: "unexpected end of JSON input", as: new(syntaxError)},
		{row: "invalid UTF-8", codecs: codecs{"lax": lax, "unknown": unknown}, body: "{\"s\":\"a\xff\"}", want: payload{S: "a\ufffd"}},
		{row: "invalid UTF-8, strict", codecs: codecs{"utf8": utf8, "strict": strict}, body: "{\"s\":\"a\xff\"}", err: "not valid UTF-8: byte 7"},
		{row: "lone surrogate", codecs: codecs{"lax": lax, "unknown": unknown}, body: `{"s":"\ud83d!"}`, want: payload{S: "\ufffd!"}},
		{row: "lone surrogate, strict", codecs: codecs{"utf8": utf8, "strict": strict}, body: `{"s":"\ud83d!"}`, err: "half a surrogate pair at byte 6"},
		{row: "surrogate pair", codecs: all, body: `{"s":"\ud83d\uDE00"}`, want: payload{S: "😀"}},
		{row: "duplicate keys", codecs: all, body: `{"a":1,"a":2}`, want: payload{A: 2}},
		{row: "duplicate keys of objects", codecs: all, body: `{"m":{"x":1},"m":{"y":2}}`, want: payload{M: struct {
			X int `json:"x"`
			Y int `json:"y"`
		}{1, 2}}},
		{row: "other case", codecs: all, body: `{"A":7}`, want: payload{A: 7}},
		{row: "unknown field", codecs: codecs{"lax": lax, "utf8": utf8}, body: `{"a":1,"b":2}`, want: payload{A: 1}},
		{row: "unknown field, disallowed", codecs: codecs{"unknown": unknown, "strict": strict}, body: `{"a":1,"b":2}`, err: `unknown field "b"`},
		{row: "unknown field within, disallowed", codecs: codecs{"unknown": unknown, "strict": strict}, body: `{"m":{"z":2}}`, err: `unknown field "z"`},
		{row: "trailing value", codecs: all, body: `{"a":1}{"a":2}`, err: "after top-level value", as: new(syntaxError)},
		{row: "trailing value after space", codecs: all, body: `{"a":1} {"a":2}`, err: "after top-level value", as: new(syntaxError)},
		{row: "trailing brace", codecs: all, body: `{"a":1}}`, err: "after top-level value", as: new(syntaxError)},
		{row: "trailing NUL", codecs: all, body: "{\"a\":1}\x00", err: "after top-level value", as: new(syntaxError)},
		{row: "surrounding whitespace", codecs: all, body: "\n\t {\"a\":1} \r\n", want: payload{A: 1}},
		{row: "1e6-deep nesting", codecs: all, body: deep, err: "exceeded max depth", as: new(syntaxError)},
		{row: "1e6-deep nesting in a skipped field", codecs: all, body: `{"z":` + deep + `}`, err: "exceeded max depth", as: new(syntaxError)},
		{row: "huge number", codecs: all, body: `{"a":` + strings.Repeat("9", 100_000) + `}`, err: "cannot unmarshal number", as: new(typeError)},
		{row: "1e400", codecs: all, body: `{"f":1e400}`, err: "cannot unmarshal number 1e400", as: new(typeError)},
		{row: "fraction for an integer", codecs: all, body: `{"a":1.5}`, err: "cannot unmarshal number 1.5", as: new(typeError)},
		{row: "NaN", codecs: all, body: `{"f":NaN}`, err: "invalid character 'N'", as: new(syntaxError)},
		{row: "BOM", codecs: all, body: "\ufeff{\"a\":1}", err: "looking for beginning of value", as: new(syntaxError)},
		{row: "raw NUL", codecs: all, body: "{\"s\":\"\x00\"}", err: `invalid character '\x00'`, as: new(syntaxError)},
		{row: "another type", codecs: all, body: `{"s":"set before the fault","a":"x"}`, err: "cannot unmarshal string", as: new(typeError)},
		{row: "another top-level type", codecs: all, body: `[1]`, err: "cannot unmarshal array", as: new(typeError)},
		{row: "another type, then trailing", codecs: all, body: `[1][2]`, err: "after top-level value", as: new(syntaxError)},
		{row: "not JSON", codecs: all, body: "<html>", err: "invalid character '<'", as: new(syntaxError)},
	} {
		for name, c := range tt.codecs {
			t.Run(tt.row+"/"+name, func(t *testing.T) {
				got, err := c.Decode([]byte(tt.body))
				if got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				if tt.err == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				var e *codec.Error
				if !errors.As(err, &e) || e.Op != "decode" || e.Codec != "JSON[codec_test.payload]" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want a *codec.Error with %q", err, tt.err)
				}
				if tt.as != nil && !errors.As(err, tt.as) {
					t.Errorf("cause is %T, want %T", e.Err, tt.as)
				}
			})
		}
	}
}

// A body of null, which encoding/json accepts for every type.
func TestJSONNull(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		checkNull[payload](t, false)
		checkNull[map[string]int](t, false)
		checkNull[*payload](t, false)
		checkNull[[2]int](t, false)
		checkNull[int](t, false)
		checkNull[float64](t, false)
		checkNull[string](t, false)
		checkNull[bool](t, false)
		checkNull[time.Time](t, false) // although its UnmarshalJSON accepts null
	})
	t.Run("accepted", func(t *testing.T) {
		checkNull[any](t, true)
		checkNull[[]int](t, true)
		checkNull[json.RawMessage](t, true)
	})
}

func checkNull[T any](t *testing.T, accepted bool) {
	t.Helper()
	var want T
	if err := json.Unmarshal([]byte("null"), &want); err != nil {
		t.Fatalf("%T: encoding/json says %v", want, err)
	}
	for _, body := range []string{"null", " null\r\n\t"} {
		got, err := codec.JSON[T]().Decode([]byte(body))
		if accepted {
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%T: got %v, %v", want, got, err)
			}
		} else if !errors.Is(err, codec.ErrNull) {
			t.Errorf("%T: got %v, %v, want ErrNull", want, got, err)
		}
		got, err = codec.JSON[T](codec.AllowNull()).Decode([]byte(body))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%T with AllowNull: got %v, %v", want, got, err)
		}
	}
	if _, err := codec.JSON[T]().Decode([]byte("nul")); !errors.As(err, new(syntaxError)) {
		t.Errorf("%T: a truncated null: %v", want, err)
	}
}

// Append refuses null where Decode does.
func TestJSONAppendNull(t *testing.T) {
	for name, c := range map[string]codec.Codec[*payload]{"by default": codec.JSON[*payload](), "nil option": codec.JSON[*payload](nil)} {
		dst, err := c.Append([]byte("head"), nil)
		if !errors.Is(err, codec.ErrNull) || string(dst) != "head" {
			t.Errorf("%s: %q, %v, want ErrNull", name, dst, err)
		}
	}
	if got, err := codec.JSON[*payload](codec.AllowNull()).Append(nil, nil); err != nil || string(got) != "null" {
		t.Errorf("AllowNull: %q, %v", got, err)
	}
	if _, err := codec.JSON[map[string]int]().Append(nil, nil); !errors.Is(err, codec.ErrNull) {
		t.Errorf("nil map: %v, want ErrNull", err)
	}
	if got, err := codec.JSON[[]int]().Append(nil, nil); err != nil || string(got) != "null" {
		t.Errorf("nil slice: %q, %v", got, err)
	}
	if got, err := codec.JSON[string]().Append(nil, "null"); err != nil || string(got) != `"null"` {
		t.Errorf("the string null: %q, %v", got, err)
	}
}

// brittle fails in both directions, and by pointer receivers only.
type brittle struct{ fault error }

func (b *brittle) MarshalJSON() ([]byte, error) { return []byte(`"brittle"`), b.fault }
func (b *brittle) UnmarshalJSON([]byte) error   { return io.ErrUnexpectedEOF }

func TestJSONMethodsOfTheType(t *testing.T) {
	c := codec.JSON[brittle]()
	if got, err := c.Append(nil, brittle{}); err != nil || string(got) != `"brittle"` {
		t.Errorf("got %q, %v, want MarshalJSON called", got, err)
	}
	for range 2 { // the second uses what the first left in the pool
		dst, err := c.Append([]byte("head"), brittle{errCause})
		if !errors.Is(err, errCause) || string(dst) != "head" {
			t.Errorf("got %q, %v, want the error of MarshalJSON", dst, err)
		}
	}
	if got, err := c.Append(nil, brittle{}); err != nil || string(got) != `"brittle"` {
		t.Errorf("after an error: %q, %v", got, err)
	}
	// A truncated body also gives io.ErrUnexpectedEOF; the two are not confused.
	for _, c := range []codec.Codec[brittle]{c, codec.JSON[brittle](codec.DisallowUnknownFields())} {
		if _, err := c.Decode([]byte(`{}`)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want the error of UnmarshalJSON", err)
		}
	}
}

// Decoding into any takes up to 40 times the memory of the body, as documented.
func TestJSONAmplification(t *testing.T) {
	for _, item := range []string{"[],", "0,"} {
		t.Run("1 MiB of "+item+" into any", func(t *testing.T) {
			n := 1 << 20 / len(item)
			body := []byte("[" + strings.TrimSuffix(strings.Repeat(item, n), ",") + "]")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := codec.JSON[any]().Decode(body)
			runtime.ReadMemStats(&after)
			if err != nil || len(got.([]any)) != n {
				t.Fatal(err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Errorf("%d bytes for a body of %d", used, len(body))
			}
		})
	}
}
