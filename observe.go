package nsqx

import "github.com/nsqx/nsqx/observe"

// Types of package observe that most services use.
type (
	Hooks          = observe.Hooks          // see [WithHooks]
	Telemetry      = observe.Telemetry      // see [WithTelemetry]
	Stats          = observe.Stats          // see [Consumer.Stats]
	PublisherStats = observe.PublisherStats // see [Publisher.Stats]
	ShutdownError  = observe.ShutdownError  // see [Consumer.Run]
	CloseError     = observe.CloseError     // see [Publisher.Shutdown]
	GraceError     = observe.GraceError     // see [Run]
)
