package codec_test

import (
	"testing"

	"github.com/nsqx/nsqx/codec"
)

func TestEmptyBody(t *testing.T) {
	if got, err := codec.Bytes().Decode([]byte{}); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Bytes: %#v, %v, want an empty slice", got, err)
	}
	if got, err := codec.Bytes().Decode(nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Bytes of nil: %#v, %v, want an empty slice", got, err)
	}
	if got, err := codec.String().Decode(nil); err != nil || got != "" {
		t.Errorf("String: %q, %v, want an empty string", got, err)
	}
}

func TestBytesDecodeMayBeChanged(t *testing.T) {
	body := []byte("payload")
	got, err := codec.Bytes().Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'X'
	if string(body) != "payload" {
		t.Errorf("body became %q", body)
	}
}
