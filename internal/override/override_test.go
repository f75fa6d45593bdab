package override

import (
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

func TestDiscover(t *testing.T) {
	n := &Nodes{Addrs: []string{"a:1", "b:1"}}
	for _, topic := range []string{"", "orders"} {
		found, err := n.Discover(t.Context(), topic)
		check.WantErr(t, "error", err, nil)
		check.Want(t, "addresses", len(found), 2)
		check.Want(t, "first", found[0], "a:1")
	}
}
