package nsqotel

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxEntries bounds a table: topics and nsqds may come and go.
const maxEntries = 256

// table remembers what was built for a key. A look-up takes no lock and
// allocates nothing. When the table is full, what is new is built each time.
type table[K comparable, V any] struct {
	build func(K) V

	mu      sync.Mutex // held to add
	entries atomic.Pointer[map[K]V]
}

func newTable[K comparable, V any](build func(K) V) *table[K, V] {
	t := &table[K, V]{build: build}
	t.entries.Store(new(map[K]V))
	return t
}

func (t *table[K, V]) get(key K) V {
	if v, ok := (*t.entries.Load())[key]; ok {
		return v
	}
	v := t.build(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	entries := *t.entries.Load()
	if len(entries) >= maxEntries {
		return v
	}
	more := make(map[K]V, len(entries)+1)
	maps.Copy(more, entries)
	more[key] = v
	t.entries.Store(&more)
	return v
}
