package nsqotel

import (
	"sync"
	"sync/atomic"
)

// minEntries is how many values a table keeps even if they are not used.
const minEntries = 1024

// table caches the values built for keys. A hit takes no lock and does not allocate.
//
// Topics and nsqds come and go, so a table that has grown to its limit drops the values that were
// not used since it did so before. The new limit is twice what is left: the values in use are always
// cached, and a table is at most twice as large as needed.
type table[K comparable, V any] struct {
	build   func(K) V
	entries sync.Map // of K to *entry[V]

	mu       sync.Mutex // held to add entries
	n, limit int
}

type entry[V any] struct {
	value V
	used  atomic.Bool // since entries were last dropped
}

func newTable[K comparable, V any](build func(K) V) *table[K, V] {
	return &table[K, V]{build: build, limit: minEntries}
}

func (t *table[K, V]) get(key K) V {
	if e, ok := t.entries.Load(key); ok {
		e := e.(*entry[V])
		if !e.used.Load() { // a store for each message would be slow
			e.used.Store(true)
		}
		return e.value
	}
	return t.add(key, t.build(key))
}

// add adds a value, unless another goroutine was faster.
func (t *table[K, V]) add(key K, v V) V {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &entry[V]{value: v}
	e.used.Store(true)
	if other, ok := t.entries.LoadOrStore(key, e); ok {
		return other.(*entry[V]).value
	}
	if t.n++; t.n > t.limit {
		t.drop()
	}
	return v
}

// drop drops the entries that were not used since its last call. The caller holds mu.
func (t *table[K, V]) drop() {
	t.n = 0
	t.entries.Range(func(key, e any) bool {
		if e.(*entry[V]).used.Swap(false) {
			t.n++
		} else {
			t.entries.Delete(key)
		}
		return true
	})
	t.limit = max(minEntries, 2*t.n)
}
