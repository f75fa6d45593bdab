// Package nsqxtest tests services that use nsqx, without a network and without a real nsqd.
//
// # When to use what
//
//   - [Deliver] passes one message to a consumer and returns the outcome. It is enough for most
//     tests of handlers, retry policies and dead letters.
//   - [Handle] calls a handler alone, with the context of a message.
//   - [Message] makes a message for the test of a middleware.
//   - [Server] is an nsqd in memory, for everything between a service and nsqd: redelivery,
//     timeouts, dead letters, lost connections, shutdown.
//   - [Lookupd] is an nsqlookupd in memory, for services that discover their servers: topics that
//     appear, servers that come, go and move.
//   - [Pipe] is an in-memory connection, for the test of a dialer or of a server of your own.
//
// # Five things to know
//
//  1. Tests use the production code. Let the constructor of your service accept more options, and
//     pass it [Server.Option]: the option replaces addresses, dialer, TLS and compression, and
//     nothing else.
//  2. A Server checks its clients. A client that breaks a rule of the protocol fails the test: see
//     [Check]. [WithoutChecks] disables checks.
//  3. A Server is a correct nsqd. Only a test makes it fail: [Server.On] changes the answer to a
//     command, [Server.Freeze] stops the flow of bytes, [Server.Disconnect] and
//     [Server.ResetConns] end connections, [Server.Refuse] refuses dials, [Server.Stop] and
//     [Server.Kill] stop it.
//  4. Time may be virtual. The package works under [testing/synctest], where a test of a 30 s
//     heartbeat takes microseconds. Create and use servers and consumers inside the bubble.
//  5. [Run] drains the consumers at the end of the test. Create servers first, since cleanups run
//     in reverse order.
//
// # A test
//
// NewBilling is the constructor of a service; its handler fails the first two attempts of order 7
// with a delay of a minute. The example of this package shows it, and is complete.
//
//	func TestBilling(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := nsqxtest.NewServer(t)
//			consumer, err := NewBilling(srv.Option())
//			if err != nil {
//				t.Fatal(err)
//			}
//			nsqxtest.Run(t, consumer)
//
//			srv.Publish("orders", []byte(`{"ID": 7, "Cents": 9900}`))
//			time.Sleep(3 * time.Minute) // virtual
//			srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool {
//				return st.Requeued == 2 && st.Finished == 1
//			})
//		})
//	}
package nsqxtest
