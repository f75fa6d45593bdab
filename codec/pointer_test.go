package codec_test

import (
	"testing"

	"github.com/nsqx/nsqx/codec"
)

func TestPointerErrors(t *testing.T) {
	c := codec.Pointer[note](marshalMessage, unmarshalMessage)
	v, err := c.Decode([]byte("other"))
	checkError(t, err, "Pointer[codec_test.note]", "decode", errNote)
	if v != nil {
		t.Errorf("value is %v after an error, want nil", v)
	}
	dst, err := c.Append([]byte("head"), nil)
	checkError(t, err, "Pointer[codec_test.note]", "encode", codec.ErrNilPointer)
	if string(dst) != "head" {
		t.Errorf("dst is %q after an error, want it as it was", dst)
	}
	failing := codec.Pointer[note](func(message) ([]byte, error) { return []byte("half"), errCause }, unmarshalMessage)
	dst, err = failing.Append([]byte("head"), new(note))
	checkError(t, err, "Pointer[codec_test.note]", "encode", errCause)
	if string(dst) != "head" {
		t.Errorf("dst is %q after an error, want it as it was", dst)
	}
}
