// Package middleware holds what many consumers want around their handlers. All
// of it is opt-in: a consumer recovers from panics, retries and reports to its
// telemetry without any.
//
//	nsqx.WithMiddleware(
//		middleware.Log(logger),
//		middleware.Timeout(5*time.Second),
//		middleware.Only(isLarge, limitLarge),
//	)
//
// The first is the outermost. Each value may serve any number of consumers.
package middleware
