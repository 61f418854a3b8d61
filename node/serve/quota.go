package serve

import (
	"net/netip"
	"sync"
)

// quota bounds something in total and for each client. The zero value takes
// nothing.
type quota struct {
	total, each int64

	mu   sync.Mutex
	used int64
	by   map[netip.Prefix]int64
}

// take counts n for a client, if it may have it.
func (q *quota) take(who netip.Prefix, n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used+n > q.total || who.IsValid() && q.by[who]+n > q.each {
		return false
	}
	q.used += n
	if who.IsValid() {
		if q.by == nil {
			q.by = make(map[netip.Prefix]int64)
		}
		q.by[who] += n
	}
	return true
}

// give takes back what take has counted.
func (q *quota) give(who netip.Prefix, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= n
	if n == 0 || !who.IsValid() {
		return
	}
	if q.by[who] -= n; q.by[who] <= 0 {
		delete(q.by, who)
	}
}

// clientOf is the address to count by: that of IPv4, the /64 of IPv6, which is
// what one customer gets. It is not valid for loopback, behind which a proxy
// may have many clients.
func clientOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // of a valid address
	return p
}
