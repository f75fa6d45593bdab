package wire_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestNames(t *testing.T) {
	for _, tc := range []struct{ name, reason string }{
		{"a", ""},
		{"orders.v1_A-9", ""},
		{"a#ephemeral", ""},
		{"ephemeral", ""},
		{strings.Repeat("a", 64), ""},
		{strings.Repeat("a", 54) + "#ephemeral", ""},
		{"", "is empty"},
		{strings.Repeat("a", 65), "is 65 bytes long"},
		{strings.Repeat("a", 55) + "#ephemeral", "is 65 bytes long"},
		{strings.Repeat("a", 1<<20), "is 1048576 bytes long"},
		{"#ephemeral", "has nothing before #ephemeral"},
		{"a#ephemeral#ephemeral", `has "#" at byte 1`},
		{"a#Ephemeral", `has "#" at byte 1`},
		{"a#ephemeralx", `has "#" at byte 1`},
		{"a b", `has " " at byte 1`},
		{"a\n", `has "\n" at byte 1`},
		{"a\nFIN 0123456789abcdef", `has "\n" at byte 1`},
		{"a/b", `has "/" at byte 1`},
		{"é", `has "\xc3" at byte 0`},
		{"a\x00", `has "\x00" at byte 1`},
	} {
		for kind, check := range map[string]func(string) error{"topic": wire.CheckTopic, "channel": wire.CheckChannel} {
			err := check(tc.name)
			if tc.reason == "" {
				equal(t, kind+" "+tc.name, err, nil)
				continue
			}
			equal(t, kind, err, error(&wire.NameError{Kind: kind, Name: tc.name, Reason: tc.reason}))
			says(t, err, "nsqx: "+kind+` "`, tc.reason, `1 to 64 of [.a-zA-Z0-9_-], the last ten may be "#ephemeral"`)
			if n := len(err.Error()); n > 400 {
				t.Errorf("error of %d bytes for a name of %d", n, len(tc.name))
			}
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"", "a", "orders.v1_A-9", "a#ephemeral", "#ephemeral", "a#ephemeral#ephemeral", "a b", "a\n", "é", strings.Repeat("a", 64), strings.Repeat("a", 65),
		strings.Repeat("a", 54) + "#ephemeral"} {
		f.Add(seed)
	}
	valid := regexp.MustCompile(`^[.a-zA-Z0-9_-]+(#ephemeral)?$`)
	f.Fuzz(func(t *testing.T, name string) {
		want := len(name) >= 1 && len(name) <= 64 && valid.MatchString(name)
		for kind, check := range map[string]func(string) error{"topic": wire.CheckTopic, "channel": wire.CheckChannel} {
			err := check(name)
			if (err == nil) != want {
				t.Fatalf("%s %q: error %v, valid %t", kind, name, err, want)
			}
			var bad *wire.NameError
			if err != nil && (!errors.As(err, &bad) || bad.Kind != kind || bad.Name != name) {
				t.Fatalf("%s %q: error %#v", kind, name, err)
			}
			if err != nil {
				printable(t, err.Error())
			}
		}
	})
}
