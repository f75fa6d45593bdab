package codec_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

func TestStrictUTF8(t *testing.T) {
	c := codec.JSON[any](codec.StrictUTF8())
	for body, want := range map[string]string{
		`"\\ud800"`:                "",
		`"\\\\ud800"`:              "",
		`"\n\u0041\ud83d\ude00\n"`: "",
		`"\ufffd"`:                 "", // written in the body, not substituted
		"\"\ufffd\"":               "",
		`"\uD800"`:                 "byte 1",
		`"ab\\\ud800"`:             "byte 5",
		`"\ude00\ud83d"`:           "byte 1",
		`"\ud83d\ud83d\ude00"`:     "byte 1",
		`"\ud83d\u0041"`:           "byte 1",
		`"\ud83d\\ude00"`:          "byte 1",
		`"\ud83d`:                  "byte 1",
		`{"\udfff":1}`:             "byte 2",
		"[\"\u00e9\xc3\"]":         "byte 4",
		"\"\xed\xa0\x80\"":         "byte 1",
		"\"\ufffd\xff\"":           "byte 4",
	} {
		_, err := c.Decode([]byte(body))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", body, err)
		case want != "" && (!errors.Is(err, codec.ErrUTF8) || !strings.HasSuffix(err.Error(), want)):
			t.Errorf("%s: got %v, want ErrUTF8 at %s", body, err, want)
		}
	}
	for _, body := range []string{`"\`, `\`, `"\u12`, `"\uzzzz"`, `"\u+123"`} {
		_, err := c.Decode([]byte(body))
		if !errors.As(err, new(syntaxError)) {
			t.Errorf("%s: got %v, want a syntax error", body, err)
		}
	}
}

var heldFFFD = regexp.MustCompile("\ufffd|\\\\u[fF]{3}[dD]")

// StrictUTF8 refuses a body exactly if encoding/json would substitute U+FFFD.
func FuzzJSONStrictUTF8(f *testing.F) {
	for _, seed := range []string{
		`"plain"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\\ud83d"`, `"\\\ud83d"`, `"\ufffd"`,
		"\"\xff\"", "\"\xed\xa0\x80\"", `{"\udc00":["\u0041\n"]}`, `"\ud83d\n"`, `"\ud83d\u`,
	} {
		f.Add([]byte(seed))
	}
	lax, strict := codec.JSON[string](), codec.JSON[string](codec.StrictUTF8())
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := lax.Decode(body)
		if err != nil || heldFFFD.Match(body) {
			return
		}
		substituted := bytes.ContainsRune([]byte(v), '\ufffd')
		if _, err := strict.Decode(body); errors.Is(err, codec.ErrUTF8) != substituted {
			t.Fatalf("decodes to %q, strict says %v", v, err)
		}
	})
}
