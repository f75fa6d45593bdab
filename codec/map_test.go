package codec_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

func TestMapInvalidGzip(t *testing.T) {
	c := codec.Map(codec.String(), same, func(b []byte) ([]byte, error) {
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	})
	var whole bytes.Buffer
	w := gzip.NewWriter(&whole)
	if _, err := w.Write([]byte("payload")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		body []byte
		want error
	}{
		"empty":     {nil, io.EOF},
		"no gzip":   {[]byte("payload, but not in gzip"), gzip.ErrHeader},
		"truncated": {whole.Bytes()[:whole.Len()-1], io.ErrUnexpectedEOF},
		"whole":     {whole.Bytes(), nil},
	} {
		v, err := c.Decode(tt.body)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %q, %v, want %v", name, v, err, tt.want)
		}
	}
}

func TestMapReturnsInnerError(t *testing.T) {
	c := codec.Map(codec.JSON[func()](), same, same)
	dst, err := c.Append([]byte("head"), func() {})
	var unsupported *json.UnsupportedTypeError
	if !errors.As(err, &unsupported) || string(dst) != "head" {
		t.Errorf("got %q, %v", dst, err)
	}
	if n := strings.Count(err.Error(), "nsqx: "); n != 1 {
		t.Errorf("%q has the prefix %d times, want once", err, n)
	}
}
