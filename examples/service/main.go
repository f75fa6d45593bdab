// Command service is a whole service: an HTTP API that publishes orders, a worker that bills them and
// publishes invoices, probes, and traces. It takes its settings from the environment (NSQX_LOOKUPD,
// NSQX_CONCURRENCY, …; OTEL_EXPORTER_OTLP_ENDPOINT, …), and runs its own nsqd if none is named.
//
//	curl -d '{"ID": 1, "Cents": 990}' 127.0.0.1:8080/orders; curl 127.0.0.1:8081/readyz
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/nsqxhttp"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
	"github.com/nsqx/nsqx/settings"
)

type order struct{ ID, Cents int }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	defaults, left := nsqx.WithOptions(), func() int { return 0 }
	if os.Getenv("NSQX_NSQD")+os.Getenv("NSQX_LOOKUPD") == "" {
		d, exit, err := embedded.NSQD()
		if err != nil {
			return err
		}
		defer exit()
		defaults = nsqx.WithNSQD(d.RealTCPAddr().String())
		left = func() int { return embedded.Unfinished(d, "orders") }
	}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return err
		}
		provider := trace.NewTracerProvider(trace.WithBatcher(exporter)) // see OTEL_… for more
		defer provider.Shutdown(context.WithoutCancel(ctx))
		otel.SetTracerProvider(provider)
	}
	otel.SetTextMapPropagator(propagation.TraceContext{})
	telemetry := nsqx.WithTelemetry(nsqotel.New())
	env, err := settings.FromEnv("NSQX_")
	if err != nil {
		return err
	}
	publisher, err := nsqx.NewPublisher(env.Producer(), telemetry, nsqx.WithProducerDefaults(defaults, nsqx.WithEnvelope()))
	if err != nil {
		return err
	}
	orders, err1 := nsqx.NewProducer("orders", codec.JSON[order](), nsqx.WithPublisher(publisher))
	invoices, err2 := nsqx.NewProducer("invoices", codec.JSON[order](), nsqx.WithPublisher(publisher))
	billing, err3 := nsqx.NewConsumer("orders", "billing", codec.JSON[order](), func(ctx context.Context, o order) error {
		return invoices.Publish(ctx, o)
	}, env.Consumer(), telemetry, nsqx.WithDefaults(defaults))
	if err := cmp.Or(err1, err2, err3); err != nil {
		return err
	}
	var confirmed atomic.Int64
	api := http.NewServeMux()
	api.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if err := orders.Publish(r.Context(), o); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		} else {
			confirmed.Add(1)
			w.WriteHeader(http.StatusAccepted)
		}
	})
	err = nsqx.Run(ctx, publisher, orders, invoices, billing,
		serve("api", cmp.Or(os.Getenv("API_ADDR"), "127.0.0.1:8080"), api),
		serve("probes", cmp.Or(os.Getenv("PROBE_ADDR"), "127.0.0.1:8081"), nsqxhttp.Handler([]observe.Source{billing, publisher})))
	fmt.Printf("confirmed %d handled %d left %d\n", confirmed.Load(), billing.Stats().Finished, left())
	return err
}

// serve is an HTTP server as a service: when ctx ends it answers the requests that it has.
func serve(name, addr string, h http.Handler) nsqx.ServiceFunc {
	return func(ctx context.Context) error {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		fmt.Println(name, l.Addr())
		server, down := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}, make(chan error, 1)
		context.AfterFunc(ctx, func() { down <- server.Shutdown(context.WithoutCancel(ctx)) })
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return <-down
	}
}
