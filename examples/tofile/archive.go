package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// archive is a service that writes the messages of one topic to files, one file after the other.
type archive struct {
	config
	topic    string
	names    *names
	log      *slog.Logger
	consumer *nsqx.Consumer[[]byte]

	mu   sync.Mutex // held while a batch is written, and while a file is ended
	file *file      // nil: the next batch begins one
	text bytes.Buffer
}

// newArchive checks the directories, and moves what a crash has left in the work directory.
func newArchive(cfg config, topic string, logger *slog.Logger) (a *archive, err error) {
	a = &archive{config: cfg, topic: topic, names: newNames(cfg, topic), log: logger.With("topic", topic)}
	a.consumer, err = nsqx.NewBatchConsumer(topic, cfg.channel, codec.Bytes(), a.write,
		cfg.nsq.Consumer(),
		nsqx.WithDefaults(
			nsqx.WithNSQD("127.0.0.1:4150"),
			nsqx.WithBatch(1000, time.Second), // so one fsync a second on a quiet topic
		),
		nsqx.WithRetry(retry.Exponential(time.Second, time.Minute)), // a disk that was full is tried soon
		nsqx.WithLogger(logger),
	)
	if err != nil {
		return nil, err
	}
	if err := a.names.check(); err != nil {
		return nil, err
	}
	left, err := a.names.moveLeft()
	for _, path := range left {
		a.log.Warn("file of an earlier process finished; its last line may be cut short", "file", path)
	}
	return a, err
}

// String names the service.
func (a *archive) String() string { return "archive of " + a.topic }

// Run consumes until ctx ends, and then ends the file.
func (a *archive) Run(ctx context.Context) error {
	err := a.consumer.Run(ctx)
	a.rotate(true)
	s := a.consumer.Stats()
	a.log.Info("stopped", "finished", s.Finished, "requeued", s.Requeued)
	return err
}

// write is the handler: it writes a batch to the disk. An error requeues the batch.
func (a *archive) write(_ context.Context, b *handler.Batch[[]byte]) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.encode(b.Values()); err != nil {
		return err
	}
	now := time.Now()
	if a.due(now) {
		a.end()
	}
	if a.file == nil {
		f, err := a.names.create(now)
		if err != nil {
			return err
		}
		a.file = f
		a.log.Info("file begun", "file", f.Name())
	}
	if err := a.file.append(a.text.Bytes()); err != nil {
		a.end() // after a failed fsync, the success of the next one proves nothing
		return err
	}
	return nil
}

// encode makes lines of a batch. In a gzip file each batch is a member, so the file can be read up to
// its last batch at any time.
func (a *archive) encode(bodies [][]byte) error {
	a.text.Reset()
	if a.gzip == 0 {
		for _, body := range bodies {
			a.text.Write(body)
			a.text.WriteByte('\n')
		}
		return nil
	}
	z, err := gzip.NewWriterLevel(&a.text, a.gzip)
	if err != nil {
		return err
	}
	for _, body := range bodies { // errors show in Close
		_, _ = z.Write(body)
		_, _ = z.Write([]byte{'\n'})
	}
	return z.Close()
}

// rotate ends the file if it is due, or in any case.
func (a *archive) rotate(always bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if always || a.due(time.Now()) {
		a.end()
	}
}

// due reports whether the next batch belongs to another file. The caller holds mu.
func (a *archive) due(now time.Time) bool {
	f := a.file
	return f != nil && (f.base != a.names.base(now) ||
		a.maxSize > 0 && f.size >= a.maxSize ||
		a.maxAge > 0 && now.Sub(f.begun) >= a.maxAge)
}

// end ends the file, if there is one. The caller holds mu. An error is only logged: all lines of
// finished messages are on the disk, and a file that cannot be moved is moved at the next start.
func (a *archive) end() {
	f := a.file
	if f == nil {
		return
	}
	a.file = nil
	if err := a.names.finish(f); err != nil {
		a.log.Error("file not finished", "file", f.Name(), "error", err)
		return
	}
	a.log.Info("file finished", "file", f.Name(), "bytes", f.size)
}

// file is a file that this process has created.
type file struct {
	*os.File
	base  string // name without revision
	begun time.Time
	size  int64 // bytes that are on the disk
}

// append writes text to the disk. If it fails, it leaves nothing of text in the file.
func (f *file) append(text []byte) error {
	_, err := f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		f.size += int64(len(text))
		return nil
	}
	if cut := f.Truncate(f.size); cut != nil {
		return fmt.Errorf("%w; lines of messages that come again stay in the file: %w", err, cut)
	}
	return err
}
