package gonsq

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nsqx/nsqx"
)

// handshakeTime bounds what follows the dial, and a poll.
const handshakeTime = 15 * time.Second

// ConnectToNSQD connects to an nsqd, and keeps it connected until DisconnectFromNSQD or Stop. It returns
// when the channel is subscribed. If that fails it returns the error, a *conn.Error, and the address is
// not dialled again. If the address is known already the error is ErrAlreadyConnected.
func (c *Consumer) ConnectToNSQD(addr string) error {
	form := canonical(addr)
	if err := c.addNSQD(addr, form); err != nil {
		return err
	}
	err := c.waitFor(c.dialTime+handshakeTime, func(s nsqx.Stats) (bool, error) { return tried(s, form) })
	if err != nil {
		c.removeNSQD(form)
	}
	return err
}

// addNSQD adds an address.
func (c *Consumer) addNSQD(addr, form string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.start(); err != nil {
		return err
	}
	if known, _ := tried(c.consumer.Stats(), form); known || slices.Contains(c.nsqds, form) {
		return ErrAlreadyConnected
	}
	if err := c.consumer.SetNSQDs(append(c.nsqds, addr)...); err != nil {
		return err
	}
	c.nsqds = append(c.nsqds, form)
	return nil
}

// removeNSQD removes an address, and reports whether it was there.
func (c *Consumer) removeNSQD(form string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.nsqds, form)
	if i < 0 {
		return false
	}
	c.nsqds = slices.Delete(c.nsqds, i, i+1)
	_ = c.consumer.SetNSQDs(c.nsqds...) // were accepted before
	return true
}

// ConnectToNSQDs calls ConnectToNSQD for each address, until one fails.
func (c *Consumer) ConnectToNSQDs(addrs []string) error {
	for _, addr := range addrs {
		if err := c.ConnectToNSQD(addr); err != nil {
			return err
		}
	}
	return nil
}

// DisconnectFromNSQD ends the connection to an nsqd that was given to ConnectToNSQD, as soon as its messages
// are answered; it does not wait. For another address the error is ErrNotConnected. An nsqd that a
// nsqlookupd names is connected again by the next poll, so it is refused: use a [DiscoveryFilter].
func (c *Consumer) DisconnectFromNSQD(addr string) error {
	form := canonical(addr)
	if c.removeNSQD(form) {
		return nil
	}
	if known, _ := tried(c.stats(), form); known {
		return fmt.Errorf("%w by ConnectToNSQD: a nsqlookupd names %s, use a DiscoveryFilter", ErrNotConnected, addr)
	}
	return ErrNotConnected
}

// ConnectToNSQLookupd adds a nsqlookupd, as "host:port" or a URL. It returns when the nsqlookupd was asked and
// the nsqds that it named were dialled; their errors are in the log.
func (c *Consumer) ConnectToNSQLookupd(addr string) error {
	c.mu.Lock()
	if err := c.check(); err != nil {
		c.mu.Unlock()
		return err
	}
	version, err := c.lookupds.add(addr, c.topic)
	if err == nil {
		err = c.start()
	}
	c.mu.Unlock()
	if err != nil || version == 0 {
		return err
	}
	_ = c.waitFor(c.dialTime+2*handshakeTime, func(s nsqx.Stats) (bool, error) {
		found, asked := c.lookupds.answered(version)
		for _, nsqd := range found {
			dialled, _ := tried(s, canonical(nsqd))
			asked = asked && dialled
		}
		return asked, nil
	})
	return nil
}

// ConnectToNSQLookupds calls ConnectToNSQLookupd for each address, until one fails.
func (c *Consumer) ConnectToNSQLookupds(addrs []string) error {
	for _, addr := range addrs {
		if err := c.ConnectToNSQLookupd(addr); err != nil {
			return err
		}
	}
	return nil
}

// DisconnectFromNSQLookupd removes a nsqlookupd. Connections stay. The last one cannot be removed.
func (c *Consumer) DisconnectFromNSQLookupd(addr string) error {
	return c.lookupds.remove(addr, c.topic)
}

// tried reports whether an nsqd is connected, or a dial has failed with err.
func tried(s nsqx.Stats, form string) (done bool, err error) {
	for _, x := range s.Connections {
		if x.Addr == form {
			return x.Connected || x.LastErr != nil, x.LastErr
		}
	}
	return false, nil
}

// waitFor waits until done is true, the consumer has stopped, or d has passed.
func (c *Consumer) waitFor(d time.Duration, done func(nsqx.Stats) (bool, error)) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed := c.events.next()
		if ok, err := done(c.stats()); ok {
			return err
		}
		select {
		case <-changed:
		case <-c.StopChan:
			return errStopped
		case <-timer.C:
			return errors.New("gonsq: the nsqd was not tried in time")
		}
	}
}

// canonical returns an address in the form that nsqx uses.
func canonical(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if n, err := strconv.Atoi(port); err == nil && n >= 0 {
		port = strconv.Itoa(n)
	}
	host = strings.ToLower(host)
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, port)
}
