package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/refresh"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// batch is how many zones are stored at a time.
const batch = 5000

// warm writes the state file of a fleet that has been complete for hours.
func (f *fleet) warm() error {
	now := time.Now().UTC()
	w := &world{fleet: f, from: inception(now)}
	lease, err := store.Acquire(filepath.Join(f.dir, fmt.Sprintf("mske-%d.db", f.zones)))
	if err != nil {
		return err
	}
	for from := 0; from < f.zones; from += batch {
		made := make([]store.Zone, min(batch, f.zones-from))
		errs := make([]error, len(made))
		var wg sync.WaitGroup
		for worker := range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := worker; i < len(made); i += runtime.GOMAXPROCS(0) {
					made[i], errs[i] = w.state(from+i, now)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		records := make(map[string]store.Zone)
		for _, z := range made {
			records[store.Key(z.Name, z.Nameservers)] = z
		}
		if err := lease.Put(records); err != nil {
			return err
		}
	}
	return lease.Release()
}

// state returns what is stored of a zone that is complete.
func (w *world) state(i int, now time.Time) (store.Zone, error) {
	zone, long, lately := zoneName(i), now.Add(-4*time.Hour), now.Add(-time.Minute)
	ksk, zsk := ourKeys(zone)
	ours := []merge.Key{merge.KeyOf(ksk.DNSKEY), merge.KeyOf(zsk.DNSKEY)}
	hosts := []string{ourHost}
	z := store.Zone{Name: zone, Nameservers: []string{ourHost}, Saved: now, Clock: lately, NSTTL: ttl * time.Second, HasCNS: true, Signers: ours[1:]}
	for _, p := range w.peers(i) {
		host := hostName(p)
		hosts = append(hosts, host)
		z.Peers = append(z.Peers, w.peer(zone, host, lately))
	}
	slices.Sort(hosts[1:])
	slices.SortFunc(z.Peers, func(a, b merge.Peer) int { return strings.Compare(a.Host, b.Host) })
	z.Target, z.NS, z.Imported = hosts, hosts, hosts[1:]
	z.Own = []store.Own{
		{Key: ours[0], SecureEntry: true, SignsKeys: true, SigningFrom: long, Published: long},
		{Key: ours[1], SignsData: true, Chain: true, Signed: true, Published: long, SignedSince: long},
	}
	z.Told = refresh.AnnouncementID(merge.Announcement{DNSKEY: ours[1:], CDNSKEY: ours[:1]})
	z.Joint = merge.Union(zone, merge.Local{DNSKEY: ours, SecureEntry: ours[:1]}, z.Peers)
	var err error
	z.Signatures, err = signatures(zone, ksk, zsk, z.Joint, now)

	held := lifecycle.Held{TTL: ttl * time.Second}
	z.Life = lifecycle.State{
		Phase: lifecycle.Complete, ConvergedSince: long, ConvergedAt: lately, DSSince: long, SyncFrom: now.Add(-3 * time.Hour), SyncedAt: now.Add(-2 * time.Hour),
		DSAt: lately, DSStatus: observe.DSPresent, DS: z.Joint.CDS, NSAt: lately, ParentNS: hosts, Target: hosts, HeldDS: held, HeldKeys: held,
		Keys: []lifecycle.Key{
			{Key: ours[1], Everywhere: long, KnownFrom: now.Add(-3 * time.Hour), DSGone: long, GoneFrom: now.Add(-3 * time.Hour)},
			{Key: ours[0], Everywhere: long, KnownFrom: now.Add(-3 * time.Hour), DSSince: long, InDSFrom: now.Add(-3 * time.Hour)},
		},
	}
	for _, host := range hosts {
		z.Life.Hosts = append(z.Life.Hosts, lifecycle.Host{
			Name: host, Heard: lately, KeyTTL: ttl * time.Second, Child: held, Parent: held, Delegated: true, ParentRead: true, ListedBy: hosts,
		})
	}
	return z, err
}

// peer returns what is known of a host's keys.
func (w *world) peer(zone, host string, at time.Time) merge.Peer {
	from := time.Unix(int64(w.from), 0).UTC()
	ksk, zsk := merge.KeyOf(w.key(host, 257).DNSKEY), merge.KeyOf(w.key(host, 256).DNSKEY)
	ds, _ := ksk.DS(zone, dns.SHA256)
	return merge.Peer{Host: host, Collected: at, Announcement: merge.Announcement{
		DNSKEY: []merge.Key{zsk}, CDNSKEY: []merge.Key{ksk}, CDS: []merge.DS{ds}, TTL: ttl * time.Second,
		Inception: merge.Inceptions{DNSKEY: from, CDNSKEY: from, CDS: from},
	}}
}

// signatures returns those of our keys over the joint sets, of which no two zones'
// end together.
func signatures(zone string, ksk, zsk *lab.Key, j merge.Joint, now time.Time) ([]serve.Signature, error) {
	by := func(k *lab.Key, role keys.Role) []*keys.Key {
		return []*keys.Key{{DNSKEY: k.DNSKEY, Signer: k.Signer, Role: role}}
	}
	a, err := serve.SignApex(zone, j, serve.Signers{SecureEntry: by(ksk, keys.KSK), Data: by(zsk, keys.ZSK)}, serve.Params{TTL: ttl, Now: now, Jitter: rand.Float64}, nil)
	if err != nil {
		return nil, err
	}
	return a.Signatures(), nil
}
