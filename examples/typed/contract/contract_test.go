package contract_test

import (
	"testing"

	"github.com/nsqx/nsqx/examples/typed/contract"
)

// Every body that was ever published must stay readable. Add bodies of new releases; never change a
// line.
func TestOrdersOfAllReleases(t *testing.T) {
	for _, c := range []struct {
		body             string
		want             contract.Order
		strict, tolerant bool // which topic decodes it
	}{
		{`{"id":1,"cents":1900}`, contract.Order{ID: 1, Cents: 1900}, true, true},
		{`{"id":4,"cents":2500,"currency":"USD"}`, contract.Order{ID: 4, Cents: 2500, Currency: "USD"}, true, true},
		{`{"id":6,"cents":"4200","currency":"USD"}`, contract.Order{ID: 6, Cents: 4200, Currency: "USD"}, false, true},
		{`{"id":7,"cents":"many"}`, contract.Order{}, false, false},
		{`{"id":8,"cents":1,"new":"in a release to come"}`, contract.Order{ID: 8, Cents: 1}, true, true},
	} {
		for _, reader := range []struct {
			name  string
			topic contract.Topic[contract.Order]
			reads bool
		}{
			{"strict", contract.Orders(), c.strict},
			{"tolerant", contract.TolerantOrders(), c.tolerant},
		} {
			got, err := reader.topic.Codec.Decode([]byte(c.body))
			if (err == nil) != reader.reads {
				t.Errorf("%s, %s: got error %v, want one: %t", reader.name, c.body, err, !reader.reads)
			}
			if err == nil && got != c.want {
				t.Errorf("%s, %s: got %+v, want %+v", reader.name, c.body, got, c.want)
			}
		}
	}
}

// Release 1.0 had no currency. An order without one encodes in 1.1 as in 1.0.
func TestOrderWithoutCurrency(t *testing.T) {
	for _, topic := range []contract.Topic[contract.Order]{contract.Orders(), contract.TolerantOrders()} {
		o := contract.Order{ID: 1, Cents: 1900}
		body, err := topic.Codec.Append(nil, o)
		if want := `{"id":1,"cents":1900}`; err != nil || string(body) != want {
			t.Errorf("got %s, error %v, want %s", body, err, want)
		}
		if got, want := o.In(), "EUR"; got != want {
			t.Errorf("got currency %s, want %s", got, want)
		}
	}
}
