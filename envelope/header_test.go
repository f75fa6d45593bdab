package envelope_test

import (
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

func TestHeaderGet(t *testing.T) {
	h, _, err := envelope.Split(raw("", "Tenant", "acme", "tenant", "other", "empty", "", "k", "1"))
	wantErr(t, "Split", err, nil)
	for key, value := range map[string]string{"tenant": "acme", "TENANT": "acme", "Tenant": "acme", "empty": "", "K": "1"} {
		got, ok := h.Get(key)
		check.Want(t, key+" found", ok, true)
		check.Want(t, key, string(got), value)
	}
	// The Kelvin sign is a K to Unicode, and not to ASCII.
	for _, key := range []string{"", "ten", "tenant ", "\u212A", "absent"} {
		if value, ok := h.Get(key); ok || value != nil {
			t.Errorf("Get(%q): got %q", key, value)
		}
	}
	_, ok := envelope.Header{}.Get("tenant")
	check.Want(t, "found in the zero Header", ok, false)
	check.Want(t, "the zero Header", list(envelope.Header{}.All()), "")
}

func TestHeaderAllStops(t *testing.T) {
	h, _, _ := envelope.Split(raw("", "a", "1", "b", "2"))
	for key := range h.All() {
		check.Want(t, "first", key, "a")
		break
	}
}
