package flow

// Quota is one connection's part of a consumer's messages in flight.
type Quota struct {
	Set    int // quota set last
	Held   int // most that nsqd may be using: at least Set, and more while it acts on an earlier quota
	Max    int // nsqd's max-rdy-count
	Demand int // what the connection can use

	// Probe is set if the connection is, or soon will be, probed: it gets what nobody demands, so
	// that a probe stays within the total as far as possible.
	Probe bool
}

// Quotas returns the quota to set now for each connection. Each connection gets 1, then up to its
// demand as evenly as possible; the rest is spread evenly. With more connections than total they
// must take turns: see [Turns].
//
// A connection gets what another one loses only after nsqd obeys the lower quota, so the sum of
// what nsqd may be using never exceeds total. Repeated calls approach the goal.
func Quotas(total int, conns []Quota) []int {
	quotas := aim(max(total, 0), conns)
	free := total
	for _, c := range conns {
		free -= c.Held
	}
	for i, c := range conns {
		if more := quotas[i] - c.Held; more > 0 {
			more = min(more, max(free, 0))
			free -= more
			quotas[i] = c.Held + more
		}
	}
	return quotas
}

// aim returns the quotas that would result if all could change at once.
func aim(total int, conns []Quota) []int {
	n := len(conns)
	wants, limits := make([]int, n), make([]int, n)
	for i, c := range conns {
		limits[i] = c.Max
		wants[i] = min(max(c.Demand, 1), c.Max)
	}
	aim := Distribute(total, wants)
	for i, n := range aim {
		total -= n
		limits[i] -= n
	}
	probed := make([]int, n)
	for i, c := range conns {
		if c.Probe {
			probed[i] = limits[i]
		}
	}
	for i, n := range Distribute(total, probed) {
		aim[i] += n
		total -= n
		limits[i] -= n
	}
	for i, n := range Distribute(total, limits) {
		aim[i] += n
	}
	return aim
}
