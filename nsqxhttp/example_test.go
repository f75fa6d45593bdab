package nsqxhttp_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxhttp"
	"github.com/nsqx/nsqx/observe"
)

func Example() {
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil },
		nsqx.WithNSQD("127.0.0.1:4150"))
	if err != nil {
		fmt.Println(err)
		return
	}
	h := nsqxhttp.Handler([]observe.Source{c}, nsqxhttp.WithCheck("db", func(ctx context.Context) error { return nil }))
	for _, path := range []string{"/livez", "/readyz"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 ok
	// 503 consumer orders/billing: nsqx: the consumer does not run, or is ending
}
