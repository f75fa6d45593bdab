package embedded_test

import (
	"os"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

func TestNSQD(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	d, exit, err := embedded.NSQD()
	if err != nil {
		t.Fatal(err)
	}
	topic := d.GetTopic("orders")
	for range 3 {
		if err := topic.PutMessage(nsqd.NewMessage(topic.GenerateID(), []byte("x"))); err != nil {
			t.Error(err)
		}
	}
	if got := embedded.Unfinished(d, "orders"); got != 3 {
		t.Errorf("got %d unfinished orders, want 3", got)
	}
	if got := embedded.Unfinished(d, "others"); got != 0 {
		t.Errorf("got %d unfinished others, want none", got)
	}
	if err := exit(); err != nil {
		t.Errorf("exit: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("directory has %v, error %v, want it empty", left, err)
	}
}
