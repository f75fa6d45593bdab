package flow

// Quota is what one connection has of a consumer's messages in flight.
type Quota struct {
	Set    int // as it was set last
	Held   int // most that nsqd may be using now: at least Share, and more while it still acts on an earlier one
	Max    int // nsqd's max-rdy-count
	Demand int // what the connection has a use for
}

// Quotas says what each connection's share of total is to be now. Everybody gets 1, and then what it has a use for, as evenly as
// that goes; what is left is spread evenly. If there are more connections than total, they take turns: as many as total
// have 1, beginning with number turn.
//
// What one connection loses another one gets only when nsqd keeps to the lower share, so that the sum of what nsqd may be
// using never rises above total: the result is what can be set at once, and approaches the aim when it is asked for again.
func Quotas(total int, conns []Quota, turn int) []int {
	quotas := aim(max(total, 0), conns, turn)
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

// aim is what the quotas would be if they could all change at once.
func aim(total int, conns []Quota, turn int) []int {
	n := len(conns)
	if total < n {
		aim := make([]int, n)
		for k := range total {
			aim[(turn+k)%n] = 1
		}
		return aim
	}
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
	for i, n := range Distribute(total, limits) {
		aim[i] += n
	}
	return aim
}
