package test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that no goroutine remains.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
