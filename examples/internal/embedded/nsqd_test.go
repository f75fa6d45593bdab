package embedded_test

import (
	"os"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"go.uber.org/goleak"

	"github.com/nsqx/nsqx/examples/internal/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		t.Errorf("left behind: %v, error %v", left, err)
	}
}
