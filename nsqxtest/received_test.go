package nsqxtest_test

import (
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestReceivedFails(t *testing.T) {
	for name, n := range map[string]int{"too few": 3, "not decodable": 2} {
		check.Bubble(t, name, func(t *testing.T) {
			tb := new(recorder)
			s := nsqxtest.NewServer(tb)
			c := connect(t, s)
			c.identify("")
			c.send("%s", with("PUB orders", "1")+with("PUB orders", "one"))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				nsqxtest.Received(tb, s, "orders", number{}, n)
				t.Error("Received has returned")
			}()
			<-ended
			if got := tb.reported(); len(got) != 1 || !strings.Contains(got[0], "orders") {
				t.Errorf("reported %q", got)
			}
			c.close()
			tb.end()
		})
	}
}
