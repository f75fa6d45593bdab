package handler_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// The memory is given back once, with the last release, in whichever goroutine.
func TestReadIsFreedOnce(t *testing.T) {
	for range 200 {
		var freed atomic.Int32
		r := &handler.Read{Source: newSource(t), Free: func() { freed.Add(1) }}
		msgs := readTogether(r, 12)
		var done sync.WaitGroup
		for i := range 8 {
			done.Go(func() { msgs[i].Release() })
		}
		done.Go(func() {
			for i := range msgs[8:11] {
				msgs[8+i].End()
			}
			handler.ReleaseAll(msgs[8:11])
		})
		done.Wait()
		check.Want(t, "freed too early", freed.Load(), 0)
		msgs[11].Release()
		check.Want(t, "freed", freed.Load(), 1)
	}
}

// ReleaseAll may get messages of several reads, one read after the other.
func TestReleaseAllOfSeveralReads(t *testing.T) {
	s := newSource(t)
	var freed []string
	msgs := make([]handler.Delivery, 5)
	for i, r := range []*handler.Read{
		{Source: s, Free: func() { freed = append(freed, "first") }},
		{Source: s},
		{Source: s, Free: func() { freed = append(freed, "third") }},
	} {
		for j := range min(2, 5-2*i) {
			msgs[2*i+j].Init(r, testID, 1, 0, []byte(withHeaders(t, "42", "a", "1")))
			msgs[2*i+j].End()
		}
	}
	handler.ReleaseAll(msgs[:1])
	check.Want(t, "freed", len(freed), 0)
	handler.ReleaseAll(msgs[1:])
	check.Want(t, "freed", len(freed), 2)
	for i := range msgs {
		check.Want(t, "Body", msgs[i].Body == nil, true)
		check.Want(t, "RawBody", msgs[i].Message().RawBody() == nil, true)
	}
}

// If Lasts is true and HasOwnContext false, Err is nil.
func TestContextLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		r := &handler.Read{Source: s, At: s.terms.Now()}
		msgs := readTogether(r, 5)
		lasts := func(d *handler.Delivery) bool { return r.Lasts(s.terms.Now()) && !d.HasOwnContext() }
		for i := range msgs {
			check.Want(t, "at first", lasts(&msgs[i]), true)
		}
		check.Want(t, "a derived one", delivery(msgs[0].Message().WithBody(nil)).HasOwnContext(), true)
		msgs[0].Context().Done()
		check.Want(t, "with a child", lasts(&msgs[0]), false)
		msgs[1].Expire()
		check.Want(t, "expired", lasts(&msgs[1]), false)
		msgs[2].End()
		check.Want(t, "ended", lasts(&msgs[2]), false)
		time.Sleep(time.Second)
		if err := msgs[3].Message().Touch(); err != nil {
			t.Fatal(err)
		}
		check.Want(t, "touched", lasts(&msgs[3]), true)
		until, _ := msgs[4].Message().Deadline()
		grace := min(time.Second, s.terms.MessageTimeout/10)
		time.Sleep(time.Until(until) - grace - 1)
		check.Want(t, "just before the end", lasts(&msgs[4]), true)
		check.Want(t, "Err", msgs[4].Context().Err(), nil)
		time.Sleep(time.Nanosecond)
		check.Want(t, "at the end", lasts(&msgs[4]), false)
		check.Want(t, "Err of a touched one", msgs[3].Context().Err(), nil)
		if msgs[4].Context().Err() == nil {
			t.Error("the context has not ended")
		}
	})
}

// A handler that releases its message does not affect the others.
func TestReleasedByItsHandler(t *testing.T) {
	freed := false
	msgs := readTogether(&handler.Read{Source: newSource(t), Free: func() { freed = true }}, 3)
	msgs[0].Release() // by its handler
	for i := range 2 {
		msgs[i].End()
		handler.ReleaseAll(msgs[i : i+1])
	}
	check.Want(t, "freed while one is handled", freed, false)
	check.Want(t, "its body", string(msgs[2].Body), "body")
	msgs[2].End()
	handler.ReleaseAll(msgs[2:])
	check.Want(t, "freed", freed, true)
}
