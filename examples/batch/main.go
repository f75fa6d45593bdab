// Command batch inserts orders into a SQLite database: first one by one, then in batches of 500. It
// needs no arguments, and nothing needs to be installed:
//
//	go run ./examples/batch
//
// A row is in the database before nsqd hears that its message is finished.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nsqio/nsq/nsqd"
	_ "modernc.org/sqlite"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

const channel = "warehouse"

// Order is the payload of the messages, in JSON.
type Order struct {
	ID    int    `json:"id"`
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

// warehouse keeps orders. A row that exists is not inserted again, since NSQ delivers a message at
// least once.
type warehouse struct{ db *sql.DB }

const insert = "INSERT INTO orders (id, item, cents) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

// add inserts one order. SQLite writes it to the disk.
func (w warehouse) add(ctx context.Context, o Order) error {
	if o.Cents < 0 {
		return retry.Permanent(errors.New("negative amount"))
	}
	_, err := w.db.ExecContext(ctx, insert, o.ID, o.Item, o.Cents)
	return err
}

// addAll inserts a batch in one transaction, so with one write to the disk. An order that can never
// be inserted gets an answer of its own.
func (w warehouse) addAll(ctx context.Context, b *handler.Batch[Order]) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // has no effect after the commit
	row, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return err
	}
	defer row.Close()
	for i, item := range b.All() {
		o := item.Value
		if o.Cents < 0 {
			b.Fail(i, retry.Permanent(errors.New("negative amount")))
		} else if _, err := row.ExecContext(ctx, o.ID, o.Item, o.Cents); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := run(ctx, os.Stdout, 5_000, 50_000)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "batch:", err)
		os.Exit(1)
	}
}

// result is what one way of inserting has done.
type result struct {
	name       string
	rows       int // orders whose handler succeeded
	refused    int // orders with a negative amount
	took       time.Duration
	unfinished int // messages left in nsqd
	inserted   int // rows in the database
}

func (r result) perSecond() float64 { return float64(r.rows) / r.took.Seconds() }

// run is the program: it inserts alone orders one by one, and together orders in batches.
func run(ctx context.Context, out io.Writer, alone, together int) (results []result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("not done after 2 minutes"))
	defer cancel()
	d, exit, err := embedded.NSQD()
	if err != nil {
		return nil, fmt.Errorf("start nsqd: %w", err)
	}
	defer func() { err = errors.Join(err, exit()) }()
	dir, err := os.MkdirTemp("", "nsqx-example-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	for _, way := range []struct {
		name, topic string
		orders      int
		consumer    func(w warehouse, opts ...nsqx.ConsumerOption) (*nsqx.Consumer[Order], error)
	}{
		{"one by one", "orders.alone", alone, func(w warehouse, opts ...nsqx.ConsumerOption) (*nsqx.Consumer[Order], error) {
			return nsqx.NewConsumer("orders.alone", channel, codec.JSON[Order](), w.add, opts...)
		}},
		{"batches of 500", "orders.together", together, func(w warehouse, opts ...nsqx.ConsumerOption) (*nsqx.Consumer[Order], error) {
			return nsqx.NewBatchConsumer("orders.together", channel, codec.JSON[Order](), w.addAll,
				append(opts, nsqx.WithBatch(500, 100*time.Millisecond))...)
		}},
	} {
		db, err := open(filepath.Join(dir, way.topic))
		if err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		r, err := measure(ctx, out, d, db, way.name, way.topic, way.orders, way.consumer)
		if err := errors.Join(err, db.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		results = append(results, r)
	}
	return results, summarize(out, results)
}

// measure publishes orders, runs a consumer until all of them are settled, and counts.
func measure(ctx context.Context, out io.Writer, d *nsqd.NSQD, db *sql.DB, name, topic string, orders int,
	newConsumer func(warehouse, ...nsqx.ConsumerOption) (*nsqx.Consumer[Order], error)) (r result, err error) {
	if err := publish(ctx, d, topic, orders); err != nil {
		return r, fmt.Errorf("publish: %w", err)
	}
	running, done := context.WithCancel(ctx)
	defer done()
	var settled atomic.Int64
	progress := func(*handler.Message) {
		n := int(settled.Add(1))
		if n%(orders/5) == 0 {
			fmt.Fprintf(out, "  %-15s %6d of %d orders\n", name, n, orders)
		}
		if n == orders {
			done()
		}
	}
	consumer, err := newConsumer(warehouse{db},
		nsqx.WithNSQD(d.RealTCPAddr().String()),
		nsqx.WithDiscard(), // of orders with a negative amount
		nsqx.WithHooks(nsqx.Hooks{OnSettle: progress}),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)), // the report says everything
	)
	if err != nil {
		return r, err
	}
	start := time.Now()
	if err := consumer.Run(running); err != nil {
		return r, err
	}
	s := consumer.Stats()
	r = result{name: name, rows: int(s.Finished), refused: int(s.Dropped), took: time.Since(start), unfinished: embedded.Unfinished(d, topic)}
	return r, db.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&r.inserted)
}

// publish publishes n orders, of which each hundredth cannot be inserted.
func publish(ctx context.Context, d *nsqd.NSQD, topic string, n int) (err error) {
	p, err := nsqx.NewProducer(topic, codec.JSON[Order](), nsqx.WithNSQD(d.RealTCPAddr().String()), nsqx.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	orders := make([]Order, n)
	for i := range orders {
		orders[i] = Order{ID: i + 1, Item: "lamp", Cents: 100 + i}
		if i%100 == 99 {
			orders[i].Cents = -1
		}
	}
	_, err = p.PublishAll(ctx, orders)
	return err
}

// open makes a database that writes each transaction to the disk.
func open(file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer
	_, err = db.Exec("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, cents INTEGER NOT NULL)")
	return db, err
}

// summarize prints the results as a table.
func summarize(out io.Writer, results []result) error {
	fmt.Fprintf(out, "\n  %-15s %8s %8s %8s %10s\n", "", "rows", "refused", "seconds", "rows/s")
	for _, r := range results {
		fmt.Fprintf(out, "  %-15s %8d %8d %8.2f %10.0f\n", r.name, r.inserted, r.refused, r.took.Seconds(), r.perSecond())
		if r.unfinished > 0 || r.inserted != r.rows {
			return fmt.Errorf("%s: %d messages are left in nsqd, %d rows of %d are in the database", r.name, r.unfinished, r.inserted, r.rows)
		}
	}
	fmt.Fprintf(out, "\n  batches are %.0f times as fast\n", results[1].perSecond()/results[0].perSecond())
	return nil
}
