package nsqotel

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxEntries bounds a table, since topics and nsqds may come and go.
const maxEntries = 256

// table caches the values built for keys. A hit takes no lock and does not allocate. A full table
// builds new values on every call.
type table[K comparable, V any] struct {
	build func(K) V

	mu      sync.Mutex // guards additions
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
