package discover

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/mdns"

	"l2p/envelope"
)

// rescan is how often Announce looks for interfaces that came, went or have
// other addresses.
const rescan = 30 * time.Second

// Announce answers queries for l2p nodes on every interface that has
// multicast, until ctx ends. It sends nothing of its own accord. One responder
// stands on each interface, since without a default route the system doesn't
// know where multicast belongs. A nil log is slog's default.
func Announce(ctx context.Context, info Info, log *slog.Logger) error {
	if info.Network.IsZero() || info.Node.IsZero() || info.Port == 0 || envelope.CheckBoxName(info.BoxName) != nil {
		return envelope.Errorf(envelope.Usage, "only a node of a network with a port and a box name can be announced")
	}
	if log == nil {
		log = slog.Default()
	}
	a := announcer{info: info, log: log, responders: map[string]*mdns.Server{}}
	defer a.stop(func(string) bool { return true })
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for {
		a.scan()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type announcer struct {
	info       Info
	log        *slog.Logger
	responders map[string]*mdns.Server // by interface and its addresses
}

// scan makes the responders those of the interfaces that there are.
func (a *announcer) scan() {
	usable, err := interfaces()
	if err != nil {
		a.log.Debug("mdns", "err", err)
		return
	}
	there := map[string]bool{}
	for _, i := range usable {
		ips := addresses(&i)
		if len(ips) == 0 {
			continue
		}
		key := fmt.Sprint(i.Index, i.Name, ips)
		there[key] = true
		if a.responders[key] == nil {
			if s, err := a.respond(&i, ips); err != nil {
				a.log.Debug("mdns: no responder", "interface", i.Name, "err", err)
			} else {
				a.responders[key] = s
			}
		}
	}
	a.stop(func(key string) bool { return !there[key] })
}

func (a *announcer) respond(i *net.Interface, ips []net.IP) (*mdns.Server, error) {
	zone, err := mdns.NewMDNSService(a.info.instance(), service, domain, a.info.instance()+"."+domain, int(a.info.Port), ips, a.info.txt())
	if err != nil {
		return nil, err
	}
	return mdns.NewServer(&mdns.Config{Zone: zone, Iface: i, Logger: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)})
}

func (a *announcer) stop(which func(key string) bool) {
	for key, s := range a.responders {
		if which(key) {
			if err := s.Shutdown(); err != nil {
				a.log.Debug("mdns: stop", "err", err)
			}
			delete(a.responders, key)
		}
	}
}
