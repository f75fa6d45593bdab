//go:build race

package conn_test

import (
	"bytes"
	"testing"
	"testing/synctest"
)

// TestPoison checks that a body is overwritten after its release, under the race detector.
func TestPoison(t *testing.T) {
	for _, size := range []int{3800, 20_000, 100_000} {
		synctest.Test(t, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			s.p.Message("00000000000000aa", 1, pattern(1, size))
			synctest.Wait()
			m := s.last()
			kept := m.Body
			s.Finish(m)
			if !bytes.Equal(kept, pattern(1, size)) {
				t.Error("the body is overwritten before it is released")
			}
			m.Release()
			synctest.Wait()
			if !bytes.Equal(kept, bytes.Repeat([]byte{0xDB}, size)) {
				t.Errorf("a body of %d bytes that was kept is not overwritten", size)
			}
		})
	}
}
