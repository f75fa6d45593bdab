package wire

// What nsqd answers in a response frame, besides JSON.
const (
	OK        = "OK"         // to a command that worked
	CloseWait = "CLOSE_WAIT" // to CLS: every FIN, REQ and TOUCH before it has been processed
)

// IsHeartbeat reports whether the data of a response frame is a heartbeat. It may come at any time after IDENTIFY was sent,
// also between a command and its answer, and wants some command, a NOP if there is nothing else to say.
func IsHeartbeat(data []byte) bool {
	return string(data) == "_heartbeat_"
}
