package handler_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

func TestParseID(t *testing.T) {
	for _, s := range []string{"0123456789abcdef", "0123456789ABCDEF", "0000000000000000", "0f9c3a7e5b1d2846"} {
		id, err := handler.ParseID(s)
		if err != nil || id.String() != s {
			t.Errorf("ParseID(%q): got %q, %v", s, id, err)
		}
	}
	for _, s := range []string{
		"", "0", "0123456789abcde", "0123456789abcdef0",
		"0123456789abcdeg", "g123456789abcdef", "0123456789abcde/", "0123456789abcde:",
		"0123456789abcde@", "0123456789abcdeG", "0123456789abcde`", "01234567 9abcdef",
		"0123456789abcd\xc3\xa9", "0123456789abcde\x00", strings.Repeat("x", 1<<20),
	} {
		id, err := handler.ParseID(s)
		if err == nil || id != (handler.ID{}) {
			t.Errorf("ParseID(%.40q): got %q, %v; want an error", s, id, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "nsqx: ") || len(err.Error()) > 256 {
			t.Errorf("ParseID(%.40q): the error is %.300q", s, err)
		}
	}
}

func TestIDAsText(t *testing.T) {
	type record struct {
		ID handler.ID `json:"id"`
	}
	for want, id := range map[string]handler.ID{
		`{"id":"0123456789abcdef"}`: testID,
		`{"id":""}`:                 {},
	} {
		got, err := json.Marshal(record{id})
		if err != nil || string(got) != want {
			t.Errorf("marshal: got %s, %v; want %s", got, err, want)
		}
		back := record{ID: handler.ID{1}}
		if err := json.Unmarshal([]byte(want), &back); err != nil || back.ID != id {
			t.Errorf("unmarshal of %s: got %q, %v", want, back.ID, err)
		}
	}

	kept := record{testID}
	if err := json.Unmarshal([]byte(`{"id":"xyz"}`), &kept); err == nil || kept.ID != testID {
		t.Errorf("unmarshal of a bad id: got %q, %v; want an error and no change", kept.ID, err)
	}
}

func TestIDsAsMapKeys(t *testing.T) {
	got, err := json.Marshal(map[handler.ID]int{testID: 1})
	if err != nil || string(got) != `{"0123456789abcdef":1}` {
		t.Errorf("got %s, %v", got, err)
	}
}
