// Tests of the contract of Codec, which every codec of the package obeys.

package codec_test

import (
	"reflect"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

func TestAppend(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			for _, room := range []int{0, 3, 4096} { // none, too little, enough
				dst := append(make([]byte, 0, 4+room), "head"...)
				got, err := s.append(dst)
				if err != nil {
					t.Fatal(err)
				}
				if want := "head" + s.encoding; string(got) != want {
					t.Errorf("room %d: got %q, want %q", room, got, want)
				}
				if string(dst) != "head" {
					t.Errorf("room %d: dst became %q", room, dst)
				}
				inPlace := &got[0] == &dst[0]
				if fits := room >= len(s.encoding); inPlace != fits {
					t.Errorf("room %d: in place %v, want %v", room, inPlace, fits)
				}
			}
			if got, err := s.append(nil); err != nil || string(got) != s.encoding {
				t.Errorf("nil dst: %q, %v, want %q", got, err, s.encoding)
			}
		})
	}
}

// Decode leaves the body unchanged, and the value does not change with the body afterwards.
func TestDecodeDoesNotKeepBody(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			body := []byte(s.encoding)
			got, err := s.decode(body)
			if err != nil {
				t.Fatal(err)
			}
			if string(body) != s.encoding {
				t.Errorf("body became %q, want %q", body, s.encoding)
			}
			for i := range body {
				body[i] = 0xdb
			}
			if !reflect.DeepEqual(got, s.wantsValue) {
				t.Errorf("got %+v, want %+v", got, s.wantsValue)
			}
		})
	}
}

// The result of one call does not change with the next call, even where memory is pooled or reused.
func TestAppendDoesNotKeepBuffer(t *testing.T) {
	scratch := make([]byte, 0, 64)
	reused := codec.Of[string](
		func(v any) ([]byte, error) { return append(scratch[:0], v.(string)...), nil },
		func(b []byte, v any) error { *v.(*string) = string(b); return nil })
	for name, c := range map[string]codec.Codec[string]{
		"JSON":                   codec.JSON[string](),
		"Of that reuses memory":  reused,
		"Map that reuses memory": codec.Map(codec.String(), func(b []byte) ([]byte, error) { return append(scratch[:0], b...), nil }, same),
	} {
		first, err1 := c.Append(nil, "first")
		before := string(first)
		_, err2 := c.Append(nil, "other")
		if err1 != nil || err2 != nil || string(first) != before {
			t.Errorf("%s: %q became %q (%v, %v)", name, before, first, err1, err2)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	for _, s := range subjects() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					body, err := s.append(nil)
					if err != nil || string(body) != s.encoding {
						t.Errorf("%s: append: %q, %v", s.name, body, err)
						return
					}
					if got, err := s.decode(body); err != nil || !reflect.DeepEqual(got, s.wantsValue) {
						t.Errorf("%s: decode: %+v, %v", s.name, got, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
