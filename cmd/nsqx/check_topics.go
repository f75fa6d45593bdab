package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nsqx/nsqx/admin"
)

// channelFacts are a channel at one nsqd, at both looks.
type channelFacts struct {
	node        *nodeFacts
	topic       string
	first, last admin.ChannelStats
}

func (c *channelFacts) name() string { return c.topic + "/" + c.last.Name }

// match finds the channels that were there both times.
func (f *facts) match() {
	for _, n := range f.whole() {
		before := make(map[[2]string]admin.ChannelStats)
		for _, t := range n.stats[0].Topics {
			for _, c := range t.Channels {
				before[[2]string{t.Name, c.Name}] = c
			}
		}
		for _, t := range n.stats[1].Topics {
			for _, c := range t.Channels {
				if first, ok := before[[2]string{t.Name, c.Name}]; ok {
					f.channels = append(f.channels, channelFacts{n, t.Name, first, c})
				}
			}
		}
	}
}

func ephemeral(name string) bool { return strings.HasSuffix(name, "#ephemeral") }

// checkChannels: channels that exist on some nsqds with the topic only.
func checkChannels(f *facts) (all []finding) {
	has, topics := make(map[lineKey][]string), make(map[string][]string)
	for _, n := range f.whole() {
		for _, t := range n.stats[1].Topics {
			topics[t.Name] = append(topics[t.Name], n.Addr)
			for _, c := range t.Channels {
				if !ephemeral(c.Name) {
					key := lineKey{t.Name, c.Name}
					has[key] = append(has[key], n.Addr)
				}
			}
		}
	}
	for key, at := range has {
		var missing []string
		for _, addr := range topics[key.topic] { // in the order of at
			if len(at) > 0 && at[0] == addr {
				at = at[1:]
			} else {
				missing = append(missing, addr)
			}
		}
		if len(missing) > 0 {
			all = append(all, one("channel-missing", warning, key.topic+"/"+key.channel, "It does not exist at "+list(missing)+", where the topic is: what is published there does not reach it.",
				fmt.Sprintf("nsqx channel create %s %s, or nsqx channel delete if it is not needed", key.topic, key.channel))...)
		}
	}
	return order(all)
}

// checkTopics: topics without channels, whose messages wait for the first.
func checkTopics(f *facts) []finding {
	waiting, disk := make(map[string]int64), make(map[string]int64)
	for _, n := range f.whole() {
		for _, t := range n.stats[1].Topics {
			if len(t.Channels) == 0 && t.Depth > 0 {
				waiting[t.Name] += t.Depth
				disk[t.Name] += t.BackendDepth
			}
		}
	}
	var all []finding
	for _, topic := range sorted(waiting) {
		all = append(all, one("topic-without-channels", warning, topic, fmt.Sprintf("%d messages wait at nsqds where no channel exists; they fill memory, then the disk, where %d are.", waiting[topic], disk[topic]),
			fmt.Sprintf("start its consumers, nsqx channel create %s NAME, or nsqx topic delete %s", topic, topic))...)
	}
	return all
}

// perChannel makes a finding for each channel with nsqds where it is wrong.
func perChannel(f *facts, wrong func(*channelFacts) bool, found func(name string, all []channelFacts) finding) (all []finding) {
	by := make(map[string][]channelFacts)
	for _, c := range f.channels {
		if wrong(&c) {
			by[c.name()] = append(by[c.name()], c)
		}
	}
	for _, name := range sorted(by) {
		all = append(all, found(name, by[name]))
	}
	return all
}

func total(all []channelFacts, n func(*admin.ChannelStats) int64) (sum int64) {
	for i := range all {
		sum += n(&all[i].last)
	}
	return sum
}

func arguments(name string) string { return strings.ReplaceAll(name, "/", " ") }

// checkConsumers: channels with messages and no client.
func checkConsumers(f *facts) []finding {
	return perChannel(f, func(c *channelFacts) bool {
		waits := c.last.Depth > 0 && c.first.Depth > 0
		return waits && c.first.ClientCount == 0 && c.last.ClientCount == 0 && !c.last.Paused && !ephemeral(c.last.Name)
	}, func(name string, all []channelFacts) finding {
		n, disk := total(all, func(c *admin.ChannelStats) int64 { return c.Depth }), total(all, func(c *admin.ChannelStats) int64 { return c.BackendDepth })
		return finding{"no-consumer", warning, []string{name}, fmt.Sprintf("%d messages wait at %d nsqds where no client consumes, %d of them on disk.", n, len(all), disk),
			"start its consumers; nsqx dead ls " + strings.Replace(name, "/", " --channel ", 1) + " shows what waits; if nobody needs the channel, nsqx channel delete " + arguments(name)}
	})
}

// checkPaused: topics and channels that are paused.
func checkPaused(f *facts) []finding {
	paused := make(map[string]int)
	for _, n := range f.whole() {
		for _, t := range n.stats[1].Topics {
			if t.Paused {
				paused[t.Name]++
			}
			for _, c := range t.Channels {
				if c.Paused {
					paused[t.Name+"/"+c.Name]++
				}
			}
		}
	}
	var all []finding
	for _, name := range sorted(paused) {
		kind := "topic"
		if strings.Contains(name, "/") {
			kind = "channel"
		}
		all = append(all, one("paused", warning, name, fmt.Sprintf("The %s is paused at %d nsqds: consumers get no messages.", kind, paused[name]),
			fmt.Sprintf("nsqx %s unpause %s", kind, arguments(name)))...)
	}
	return all
}

// checkEphemeral: ephemeral channels without clients. They should have gone with the last.
func checkEphemeral(f *facts) []finding {
	return perChannel(f, func(c *channelFacts) bool {
		return ephemeral(c.last.Name) && c.first.ClientCount == 0 && c.last.ClientCount == 0
	}, func(name string, all []channelFacts) finding {
		return finding{"ephemeral-leftover", warning, []string{name}, fmt.Sprintf("No client has it at %d nsqds, and it takes messages all the same: an ephemeral channel goes with a client alone.", len(all)),
			"nsqx channel delete " + arguments(name)}
	})
}

// manyOnDisk is how many messages on disk are a backlog. Fewer may be there for a moment, or since
// --mem-queue-size is small.
const manyOnDisk = 1000

// checkDisk: channels whose consumers do not keep up, so that messages go to the disk.
func checkDisk(f *facts) []finding {
	return perChannel(f, func(c *channelFacts) bool {
		return c.first.ClientCount > 0 && c.last.ClientCount > 0 && c.first.BackendDepth >= manyOnDisk && c.last.BackendDepth >= c.first.BackendDepth
	}, func(name string, all []channelFacts) finding {
		return finding{"depth-on-disk", warning, []string{name}, fmt.Sprintf("%d messages wait at %d nsqds, %d of them on disk, and they do not get fewer: consumers are slower than producers.",
			total(all, func(c *admin.ChannelStats) int64 { return c.Depth }), len(all), total(all, func(c *admin.ChannelStats) int64 { return c.BackendDepth })),
			"start more consumers, or raise WithConcurrency; nsqx stats " + strings.Split(name, "/")[0] + " --watch shows the rates. Look at the space that --data-path has left"}
	})
}

// checkDrift: nsqd counts more in flight for clients than it has in flight, so it withholds messages.
func checkDrift(f *facts) []finding {
	held := func(c *admin.ChannelStats) (n int64) {
		for _, client := range c.Clients {
			n += client.InFlight
		}
		return n
	}
	drifts := func(c *admin.ChannelStats) bool { return len(c.Clients) > 0 && held(c) > c.InFlight }
	return perChannel(f, func(c *channelFacts) bool { return drifts(&c.first) && drifts(&c.last) }, func(name string, all []channelFacts) finding {
		return finding{"in-flight-drift", warning, []string{name}, fmt.Sprintf("nsqd counts %d messages in flight for its clients, and has %d: clients with a low RDY get none.",
			total(all, held), total(all, func(c *admin.ChannelStats) int64 { return c.InFlight })), "restart the consumers of the channel; nsqx replaces such a connection itself"}
	})
}

// checkTimeouts: messages that nobody answered in time.
func checkTimeouts(f *facts) []finding {
	return perChannel(f, func(c *channelFacts) bool { return c.last.TimedOut >= 10 && c.last.TimedOut*50 >= c.last.Messages },
		func(name string, all []channelFacts) finding {
			return finding{"timeouts", warning, []string{name}, fmt.Sprintf("%d of %d messages were not answered in time since nsqd started, and delivered again: handlers are slow, hang, or ask for too many.",
				total(all, func(c *admin.ChannelStats) int64 { return int64(c.TimedOut) }), total(all, func(c *admin.ChannelStats) int64 { return int64(c.Messages) })),
				"lower max in flight, raise the message timeout (WithMessageTimeout), or touch messages (middleware.AutoTouch)"}
		})
}

// checkRequeues: messages that fail.
func checkRequeues(f *facts) []finding {
	return perChannel(f, func(c *channelFacts) bool {
		return c.last.Requeued >= 100 && c.last.Requeued*2 >= c.last.Messages && c.last.Requeued > c.first.Requeued
	}, func(name string, all []channelFacts) finding {
		return finding{"requeues", warning, []string{name}, fmt.Sprintf("%d messages were requeued of %d since nsqd started, and it goes on: handlers fail, or look at messages and give them back.",
			total(all, func(c *admin.ChannelStats) int64 { return int64(c.Requeued) }), total(all, func(c *admin.ChannelStats) int64 { return int64(c.Messages) })),
			"read the log of the consumers; keep poison messages aside by WithMaxAttempts and WithDeadLetter"}
	})
}

// order sorts findings by where they are.
func order(all []finding) []finding {
	slices.SortFunc(all, func(a, b finding) int { return cmp.Compare(a.At[0], b.At[0]) })
	return all
}
