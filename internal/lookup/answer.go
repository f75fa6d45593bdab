package lookup

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
)

// Answer is what a nsqlookupd knows.
type Answer struct {
	Addrs   []string // of nsqds, as host:port in canonical form, each once, in its order
	NoTopic bool     // it does not know the topic, which is usual before the first message: Addrs is empty
	Invalid int      // entries dropped: they have no address that can be dialled
	Surplus int      // entries dropped: there were Config.MaxAddrs before them
}

const topicNotFound = "TOPIC_NOT_FOUND"

var (
	errNoProducers = errors.New("the answer has no producers")
	errNotAList    = errors.New("the answer's producers are not a list")
)

// parse reads an answer of either form: {"producers": …}, or the same as the data of {"status_code", "status_txt", "data"},
// as nsqlookupd wrote it before 1.0. It also returns the status, which in the old form may be another than HTTP's.
func parse(status int, body []byte, most int) (Answer, int, error) {
	var form struct {
		list
		StatusCode int             `json:"status_code"`
		Data       json.RawMessage `json:"data"`
	}
	form.Producers.most = most
	err := json.Unmarshal(body, &form)
	if err == nil && status == http.StatusOK && form.StatusCode != 0 {
		status = form.StatusCode
	}
	if status != http.StatusOK {
		return Answer{}, status, refusal(status, body)
	}
	if err == nil && !form.Producers.present && form.Data != nil {
		// Not decoded in the same go: of two "data" the last wins, and they would be merged.
		err = json.Unmarshal(form.Data, &form.list)
	}
	if err == nil && !form.Producers.present {
		err = errNoProducers
	}
	if err != nil {
		return Answer{}, status, err
	}
	return form.Producers.Answer, status, nil
}

// refusal is errNoTopic, or what the nsqlookupd says. A 404 alone does not mean that there is no such topic: who asks in the
// wrong place gets one as well.
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
	Producers producers `json:"producers"`
}

// producers reads a list entry by entry: one that is not as it should be is dropped, and not the others with it, and a long
// list takes no more memory than what is kept of it.
type producers struct {
	Answer
	most    int
	present bool
}

func (p *producers) UnmarshalJSON(data []byte) error {
	p.Answer, p.present = Answer{}, true // of two lists the last wins
	if string(data) == "null" {          // an empty slice of Go, in some foreign lookupd
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
		case len(p.Addrs) == p.most:
			p.Surplus++
		default:
			seen[addr] = true
			p.Addrs = append(p.Addrs, addr)
		}
	}
	return nil
}

func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}
