package redial_test

import (
	"testing"
	"testing/synctest"
)

// TestCloseBeyondMax: a connection that nobody names may be one too many. Close ends it.
func TestCloseBeyondMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.connect("a:1")
		f.Forget("a:1")
		f.connect("b:1")
		f.want("with a connection that works", "a:1 b:1")
		f.end()
		f.Forget("b:1") // nothing happens after the end
	})
}
