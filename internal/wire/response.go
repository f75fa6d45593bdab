package wire

// The data of response frames, other than JSON and heartbeats.
const (
	OK        = "OK"         // a command succeeded
	CloseWait = "CLOSE_WAIT" // answers CLS: every earlier FIN, REQ and TOUCH has been processed
)

// IsHeartbeat reports whether the data of a response frame is a heartbeat. A heartbeat may arrive
// at any time after IDENTIFY, even between a command and its answer. Any command answers it, such
// as NOP.
func IsHeartbeat(data []byte) bool {
	return string(data) == "_heartbeat_"
}
