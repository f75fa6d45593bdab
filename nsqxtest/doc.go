// Package nsqxtest is the kit for testing services that use nsqx. It needs the standard library and nsqx only, and all of
// it works under [testing/synctest], where time is virtual and a test of a 30 s heartbeat takes microseconds.
//
// Most tests need no network. [Deliver] hands a message to the very consumer that production builds, and returns what nsqd
// would hear; [Handle] calls a handler alone, with the context of a message.
//
//	out := nsqxtest.Deliver(t, consumer, []byte(`{"id": 7}`), nsqxtest.WithAttempts(3))
//
// [Server] is an nsqd in memory, for what happens between a service and nsqd: redelivery, timeouts, dead letters,
// connections that break, shutdown. It also watches the client, and fails the test when that breaks the protocol.
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := nsqxtest.NewServer(t)
//		consumer, err := NewBilling(srv.Option()) // production options, and this one
//		...
//		nsqxtest.Run(t, consumer)
//		srv.Publish("orders", []byte(`{"id": 7}`))
//		srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
//		...
//	})
package nsqxtest
