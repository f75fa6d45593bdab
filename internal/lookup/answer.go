package lookup

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
)

// Answer is the answer of an nsqlookupd.
type Answer struct {
	Addrs    []string // of nsqds, as host:port in canonical form, without duplicates, in order
	NoTopic  bool     // the topic is unknown, as before the first message; Addrs is empty
	HTTP     []string // of the nsqds, in the order of Addrs; "" for none
	Channels []string // of the topic, as named; nil if they cannot be read
	Invalid  int      // entries dropped without a valid address
	Surplus  int      // entries dropped beyond Config.MaxAddrs
}

const topicNotFound = "TOPIC_NOT_FOUND"

var (
	errNoProducers = errors.New("the answer has no producers")
	errNotAList    = errors.New("the answer's producers are not a list")
)

// parse decodes an answer of either form: {"producers": …}, or that object as the data of
// {"status_code", "status_txt", "data"}, the form before nsqlookupd 1.0. It also returns the
// status, which in the old form may differ from that of HTTP.
func parse(status int, body []byte, limit int) (Answer, int, error) {
	var form struct {
		list
		StatusCode int             `json:"status_code"`
		Data       json.RawMessage `json:"data"`
	}
	form.Producers.limit = limit
	err := json.Unmarshal(body, &form)
	if err == nil && status == http.StatusOK && form.StatusCode != 0 {
		status = form.StatusCode
	}
	if status != http.StatusOK {
		return Answer{}, status, refusal(status, body)
	}
	if err == nil && !form.Producers.present && form.Data != nil {
		// Decoded separately: of two "data" the last must win, without a merge.
		err = json.Unmarshal(form.Data, &form.list)
	}
	if err == nil && !form.Producers.present {
		err = errNoProducers
	}
	if err != nil {
		return Answer{}, status, err
	}
	answer := form.Producers.Answer
	if json.Unmarshal(form.Channels, &answer.Channels) != nil {
		answer.Channels = nil
	}
	return answer, status, nil
}

// refusal returns errNoTopic, or the text of the answer. A 404 alone does not mean that the topic
// is unknown: a wrong address gives a 404, too.
func refusal(status int, body []byte) error {
	var form struct {
		Message    string `json:"message"`
		StatusText string `json:"status_txt"`
	}
	if json.Unmarshal(body, &form) != nil {
		return said(body)
	}
	text := cmp.Or(form.Message, form.StatusText, string(body))
	if status == http.StatusNotFound && text == topicNotFound {
		return errNoTopic
	}
	return said(text)
}

type list struct {
	Producers producers       `json:"producers"`
	Channels  json.RawMessage `json:"channels"` // decoded apart: addresses count whatever this is
}

// producers decodes a list entry by entry. An invalid entry is dropped alone, and entries beyond
// the limit take no memory.
type producers struct {
	Answer
	limit   int
	present bool
}

func (p *producers) UnmarshalJSON(data []byte) error {
	p.Answer, p.present = Answer{}, true // of two lists the last wins
	if string(data) == "null" {          // how Go encodes a nil slice
		return nil
	}
	if data[0] != '[' {
		return errNotAList
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for dec.More() {
		var entry struct {
			Host string `json:"broadcast_address"`
			Port int    `json:"tcp_port"`
			HTTP any    `json:"http_port"` // of whatever type: an address is good without it
		}
		err := dec.Decode(&entry)
		if err != nil && !isTypeError(err) {
			return err
		}
		addr, ok := join(entry.Host, entry.Port)
		switch {
		case err != nil || !ok:
			p.Invalid++
		case seen[addr]:
		case len(p.Addrs) == p.limit:
			p.Surplus++
		default:
			seen[addr] = true
			p.Addrs = append(p.Addrs, addr)
			port, _ := entry.HTTP.(float64)
			http, _ := join(entry.Host, int(port))
			p.HTTP = append(p.HTTP, http)
		}
	}
	return nil
}

func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}
