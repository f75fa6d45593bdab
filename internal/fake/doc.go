// Package fake plays the scripts that a correct nsqd never plays: malformed frames, wrong answers,
// broken handshakes, TLS and compression that fail. For a correct nsqd use nsqxtest.Server.
//
// Clients dial connections and send commands. A script is a function that gets the server's end of
// one connection, a [Peer]; it reads commands and writes frames (responses, errors and messages).
// [NewNetwork] and [Listen] run the script once per connection, in memory or over loopback TCP.
//
// A Peer keeps no topics, channels or messages, and answers only as its script says. Commands and
// frames are encoded here without internal/wire, so a bug of internal/wire cannot hide itself.
package fake
