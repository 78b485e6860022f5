package mske

import (
	"github.com/coredns-mske/mske/refresh"
	"github.com/coredns-mske/mske/status"
)

// listen answers, beside each state file, whoever asks how far the zones are that
// are kept in it. That nobody can ask is no reason not to serve.
func (inst *instance) listen(e *refresh.Engine) {
	listening := make(map[string]bool)
	for _, z := range inst.all() {
		path := z.stanza.state
		if listening[path] {
			continue
		}
		listening[path] = true
		s, err := status.Listen(path, func(zone string) []status.Zone { return statusOf(e, path, zone) })
		if err != nil {
			log.Warningf("`mske status` cannot ask this server: %v", err)
			continue
		}
		inst.servers = append(inst.servers, s)
	}
}

// hangUp ends what listen began.
func (inst *instance) hangUp() {
	for _, s := range inst.servers {
		if err := s.Close(); err != nil {
			log.Warningf("Closing the socket for `mske status`: %v", err)
		}
	}
	inst.servers = nil
}

// statusOf returns what e tells of a zone, or of "" all, that is kept in a state
// file.
func statusOf(e *refresh.Engine, state, name string) []status.Zone {
	var zones []status.Zone
	e.Tell(name, func(z *refresh.Zone, t refresh.Told) {
		if z.Store == state {
			zones = append(zones, zoneStatus(z, t))
		}
	})
	return zones
}

func zoneStatus(z *refresh.Zone, t refresh.Told) status.Zone {
	s := status.Zone{
		Zone: z.Name, Nameservers: z.Nameservers, Phase: string(t.Phase),
		Waits: append([]string{}, t.Waits...), Until: t.Next, MayAdd: t.MayAdd, NS: append([]string{}, t.NS...),
		Leaving: []status.Leaving{}, Deletable: t.DeleteFrom, Keys: []status.Key{}, Warnings: append([]string{}, t.Warnings...),
	}
	for _, l := range t.Leaving {
		s.Leaving = append(s.Leaving, status.Leaving{Host: l.Host, Since: l.Since, Until: l.Until})
	}
	for _, k := range t.Keys {
		s.Keys = append(s.Keys, status.Key{
			Tag: k.Key.Tag(), Algorithm: k.Key.Algorithm, Role: t.Roles[k.Key].String(), Signs: k.Signs,
			Everywhere: k.Everywhere, SignFrom: k.SignFrom, InDS: k.InDS, GoFrom: k.GoFrom,
		})
	}
	return s
}
