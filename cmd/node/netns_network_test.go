//go:build netns

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The hub's address, which all its links lead to.
const hubAddress = "10.77.0.1"

// network is the network namespace of a hub with hosts around it, each in one of
// its own behind a link that loses packets. What a link loses is dropped where it
// arrives: a packet that is dropped where it is sent is an error to its sender.
type network struct {
	t      *testing.T
	prefix string // of the names of all namespaces of this process
	hub    *host
	hosts  int
}

// host is one namespace.
type host struct {
	n    *network
	ns   string
	link string // the hub's end of the link; the other is "uplink"
}

// trouble is what both ends of a link do to what arrives.
type trouble struct {
	loss       float64 // share of all packets, at random
	noNACK     bool    // NACKs are lost, and so nothing is repaired
	lastPacket int     // each so-manieth last packet of a VP8 picture is lost, but not its repeat; 0: none
}

// newNetwork makes the hub's namespace and removes all of them at the end.
func newNetwork(t *testing.T) *network {
	t.Helper()
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", program, pkg)
		}
	}
	sweep(t)
	n := &network{t: t, prefix: fmt.Sprint("weft-", os.Getpid(), "-")}
	n.hub = n.add("hub")
	n.hub.must("ip", "addr", "add", hubAddress+"/32", "dev", "lo")
	return n
}

// sweep removes what a run has left behind that was killed: its namespaces, and
// the processes within them.
func sweep(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatalf("ip netns list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		name := strings.Fields(line + " ")[0]
		var pid int
		if n, _ := fmt.Sscanf(name, "weft-%d-", &pid); n != 1 || syscall.Kill(pid, 0) == nil {
			continue
		}
		t.Logf("removing namespace %s, which process %d has left behind", name, pid)
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for field := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = exec.Command("ip", "netns", "del", name).Run()
	}
}

func (n *network) add(name string) *host {
	n.t.Helper()
	h := &host{n: n, ns: n.prefix + name}
	if out, err := exec.Command("ip", "netns", "add", h.ns).CombinedOutput(); err != nil {
		n.t.Fatalf("this machine does not let us make network namespaces, which needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): %v: %s", err, out)
	}
	n.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", h.ns).CombinedOutput(); err != nil {
			n.t.Errorf("ip netns del %s: %v: %s", h.ns, err, out)
		}
	})
	h.must("ip", "link", "set", "lo", "up")
	return h
}

// host makes a namespace and links it to the hub.
func (n *network) host(name string, tr trouble) *host {
	n.t.Helper()
	h := n.add(name)
	n.hosts++
	h.link = fmt.Sprint("h", n.hosts)
	near, far := fmt.Sprintf("10.77.%d.1", n.hosts), fmt.Sprintf("10.77.%d.2", n.hosts)
	n.hub.must("ip", "link", "add", h.link, "type", "veth", "peer", "name", "uplink", "netns", h.ns)
	n.hub.must("ip", "addr", "add", near+"/30", "dev", h.link)
	n.hub.must("ip", "link", "set", h.link, "up")
	h.must("ip", "addr", "add", far+"/30", "dev", "uplink")
	h.must("ip", "link", "set", "uplink", "up")
	h.must("ip", "route", "add", "default", "via", near)
	n.hub.impair(h.link, tr)
	h.impair("uplink", tr)
	return h
}

// impair has an end of a link do its worst.
func (h *host) impair(dev string, tr trouble) {
	h.n.t.Helper()
	var rules strings.Builder
	rule := func(match, counter string) {
		fmt.Fprintf(&rules, "    iifname %q %s counter name %s drop\n", dev, match, counter)
	}
	// What SRTP leaves readable: of RTCP the first eight bytes, of RTP the header.
	if tr.noNACK { // version 2, format 1, type 205 (RFC 4585 section 6.2.1)
		rule("udp length >= 24 @th,64,16 0x81cd", "asked")
	}
	if tr.lastPacket > 0 { // marker, and payload type 96, which is VP8's and not its RTX's
		rule(fmt.Sprintf("udp length >= 24 @th,64,2 2 @th,72,8 0xe0 numgen inc mod %d 0", tr.lastPacket), "ends")
	}
	if tr.loss > 0 {
		rule(fmt.Sprintf("numgen random mod 10000 < %d", int(tr.loss*10000)), "strays")
	}
	h.nft(fmt.Sprintf(`table inet %s {
  counter total { }
  counter asked { }
  counter ends { }
  counter strays { }
  chain input {
    type filter hook input priority 0;
    iifname %q counter name total
%s  }
}`, dev, dev, &rules))
}

// losses are what both ends of a link have counted.
type losses struct{ all, nacks, last, random int }

func (l losses) String() string {
	return fmt.Sprintf("%d of %d packets lost at random, %d last ones, %d NACKs", l.random, l.all, l.last, l.nacks)
}

func (h *host) losses() losses {
	h.n.t.Helper()
	up, down := h.counters("uplink"), h.n.hub.counters(h.link)
	sum := func(name string) int { return up[name] + down[name] }
	return losses{sum("total"), sum("asked"), sum("ends"), sum("strays")}
}

func (h *host) counters(dev string) map[string]int {
	h.n.t.Helper()
	out := h.must("nft", "--json", "list", "table", "inet", dev)
	var list struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets int
			}
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		h.n.t.Fatal(err)
	}
	counters := map[string]int{}
	for _, e := range list.Nftables {
		if e.Counter != nil {
			counters[e.Counter.Name] = e.Counter.Packets
		}
	}
	return counters
}

func (h *host) nft(rules string) {
	h.n.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", h.ns, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.n.t.Fatalf("nft in %s: %v: %s\n%s", h.ns, err, out, rules)
	}
}

// inside is the command line of a program within the namespace. The process that
// it starts becomes that program.
func (h *host) inside(args ...string) []string {
	return append([]string{"ip", "netns", "exec", h.ns}, args...)
}

// must runs a program within the namespace and returns what it prints.
func (h *host) must(args ...string) []byte {
	h.n.t.Helper()
	line := h.inside(args...)
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		h.n.t.Fatalf("%s: %v: %s", strings.Join(line, " "), err, out)
	}
	return out
}

// spawn starts weft within the namespace.
func (h *host) spawn(weft string, args ...string) *process {
	h.n.t.Helper()
	line := h.inside(append([]string{weft}, args...)...)
	p := spawn(h.n.t, line[0], line[1:]...)
	p.name = args[0] + " in " + h.ns
	return p
}
