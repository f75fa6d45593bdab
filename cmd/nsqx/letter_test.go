package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	l := &letter{id: "0123456789abcdef", nsqd: "a:4150", attempts: 3, at: time.Now().Add(-time.Hour), headers: map[string]string{"nsqx-dlq-error": "timeout of bank"},
		body: []byte(`{"n":7,"tags":["a"]}`)}
	for program, tt := range map[string]struct {
		match  bool
		failed bool
	}{
		``: {match: true}, `true`: {match: true}, `false`: {}, `null`: {}, `empty`: {}, `0`: {match: true},
		`.headers["nsqx-dlq-error"] | test("timeout")`: {match: true},
		`.headers.none | test("x")`:                    {failed: true},
		`.json.n == 7 and .attempts > 2`:               {match: true},
		`.json.tags | index("a") != null`:              {match: true},
		`.age_seconds > 3000`:                          {match: true},
		`.body | contains("\"n\":7")`:                  {match: true},
		`error("x")`:                                   {failed: true},
		`.nsqd == "a:4150" and .size == 20`:            {match: true},
	} {
		f, err := newFilter(program)
		if err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		got, err := f.match(t.Context(), l)
		want(t, program, got, tt.match)
		want(t, program+" fails", err != nil, tt.failed)
	}
	binary := &letter{body: []byte("\xff\x00"), tooLarge: false}
	want(t, "base64", binary.view()["body_base64"].(string), "/wA=")
	f, _ := newFilter("true")
	got, _ := f.match(t.Context(), &letter{tooLarge: true})
	want(t, "a body that was not read", got, false)
}

// TestLargeNumbers: numbers beyond those of a float64 are shown, and compared, as they are.
func TestLargeNumbers(t *testing.T) {
	const id = "12345678901234567"
	l := &letter{body: []byte(`{"id": ` + id + `, "price": 10.50}`)}
	want(t, "decoded", l.decode("json"), `{"id":`+id+`,"price":10.50}`)
	want(t, "hostile", (&letter{body: []byte("{\"b\": \"\u009b31m\", \n\"a\":1}")}).decode("json"), `{"b":"\u009b31m","a":1}`)
	line, err := safeJSON(l.view())
	if err != nil || !strings.Contains(line, `"json":{"id":`+id+`,`) {
		t.Errorf("view: %s, %v", line, err)
	}
	for program, match := range map[string]bool{`.json.id == ` + id: true, `.json.id == 12345678901234568`: false, `.json.price > 10.4`: true, `.json.price * 2 == 21`: true} {
		f, err := newFilter(program)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.match(t.Context(), l)
		if got != match || err != nil {
			t.Errorf("%s: %v, %v", program, got, err)
		}
	}
	for _, body := range []string{`{} x`, `{}{}`, ``, ` `, `{`} {
		if v, ok := (&letter{body: []byte(body)}).json(); ok {
			t.Errorf("%q is %v", body, v)
		}
	}
}

// TestFilterFaults says where a filter is wrong.
func TestFilterFaults(t *testing.T) {
	for program, text := range map[string]string{
		`.headers[`: "at character 10", `.a |`: "at character", `)`: "at character 1 ", `nosuch(1)`: "nosuch/1", `$x`: "$x", `"`: "at character",
	} {
		_, err := newFilter(program)
		s, ok := errors.AsType[status](err)
		if !ok || s.code != exitUsage || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "--where") {
			t.Errorf("%s: %v, want %s", program, err, text)
		}
	}
}

// TestFilterEndless: a filter that never ends is given up, for each message, and then for all.
func TestFilterEndless(t *testing.T) {
	f, err := newFilter(`[limit(1; repeat(empty))]`)
	if err != nil {
		t.Fatal(err)
	}
	f.limit = 20 * time.Millisecond
	began := time.Now()
	for i := range 10_000 {
		ok, err := f.match(t.Context(), &letter{})
		if ok || err == nil || errors.Is(err, errSlow) != (i >= maxSlow) {
			t.Fatalf("message %d: %v, %v", i, ok, err)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
