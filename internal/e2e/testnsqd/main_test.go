package testnsqd_test

import (
	"testing"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnsqd.Leaks()...) }
