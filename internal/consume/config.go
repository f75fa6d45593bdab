package consume

import (
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// Config are the settings of a Consumer, validated and with defaults.
type Config struct {
	NSQDs    []string        // static addresses
	Discover discover.Config // its Topic and Channel are set by New
	Conn     conn.Config
	Sub      conn.Subscription

	NoRegistration bool // the channel is not registered at nsqlookupds

	Logger       *slog.Logger
	NoFailureLog bool              // WithoutFailureLog
	Telemetry    observe.Telemetry // nil: none
	Hooks        []observe.Hooks

	Concurrency      int
	MaxInFlight      int // 0: automatic
	MaxInFlightBytes int
	FixedRDY         bool          // WithFixedRDY
	Backoff          *flow.Backoff // nil: no breaker
	Middleware       []handler.Middleware
	Batch            *Batch // nil: single messages

	Retry           retry.Policy
	Errors          func(error) error // nil: none
	MaxAttempts     int               // 0: no limit
	CrashGuard      int               // attempts; 0: none
	MaxAge          time.Duration     // 0: no limit
	SkipOlder       time.Duration     // 0: none is too old for the handler
	AnyTime         bool              // messages are handled before and after their time, too
	MaxRequeueDelay time.Duration
	GiveUp          GiveUp // what becomes of a message that is given up; nil: Unset

	ShutdownTimeout time.Duration
	PprofLabels     bool // handlers have labels for package runtime/pprof
}

// Batch are the settings of a handler that takes batches.
type Batch struct {
	Size       int
	Wait       time.Duration
	NoTouch    bool // messages are not touched while they are handled
	Middleware []handler.BatchMiddleware
}
