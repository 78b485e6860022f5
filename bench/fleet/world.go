package main

import (
	"bytes"
	"encoding/binary"
	"log"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

const (
	ttl     = 3600
	maxSize = 1232 // octets of an answer by UDP
)

// world answers for all of the DNS but our nameserver, as authoritative servers and
// as a resolver do, with messages that are packed once.
type world struct {
	*fleet
	keys    sync.Map          // lab.Key by zone and flags
	answers sync.Map          // packed, by question
	octets  map[string][]byte // the same, by the question's octets, for one goroutine
	asked   atomic.Int64
	from    uint32 // inception and expiration of signatures
	until   uint32
}

type question struct {
	name  string
	qtype uint16
}

// serveWorld answers until it is killed.
func (f *fleet) serveWorld() error {
	now := time.Now()
	w := &world{fleet: f, octets: make(map[string][]byte), from: inception(now), until: uint32(now.AddDate(0, 0, 7).Unix())}
	w.prepare()
	addr := net.JoinHostPort(worldAddr, f.port)
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	errs := make(chan error)
	go func() { errs <- w.serveDatagrams(packets.(*net.UDPConn)) }()
	go func() { errs <- dns.ListenAndServe(addr, "tcp", w) }()
	log.Printf("The world is ready, %d zones", f.zones)
	for range time.Tick(10 * time.Second) {
		select {
		case err := <-errs:
			return err
		default:
			log.Printf("%d questions so far", w.asked.Load())
		}
	}
	return nil
}

// inception returns when all signatures of the world begin: the state file of a
// fleet that was written on the same day knows them.
func inception(now time.Time) uint32 {
	return uint32(now.UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour).Unix())
}

// serveDatagrams answers what it has an answer for by copying it: the world is not to
// be what is measured.
func (w *world) serveDatagrams(conn *net.UDPConn) error {
	in, out := make([]byte, maxSize), make([]byte, maxSize)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			return err
		}
		asked := in[:n]
		end := 12 // of the question's name
		for end < n && asked[end] != 0 {
			end += 1 + int(asked[end])
		}
		if n < end+5 || asked[5] != 1 {
			continue
		}
		w.asked.Add(1)
		wire := w.wire(asked[12 : end+5])
		if len(wire) > maxSize { // the question alone, truncated
			wire = append([]byte{0, 0, 0x86, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, asked[12:end+5]...)
		}
		answer := out[:copy(out, wire)]
		copy(answer, asked[:2])
		copy(answer[12:], asked[12:end+5])
		answer[3] |= asked[3] & 0x10 // CD
		if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil {
			return err
		}
	}
}

// wire returns the answer to the octets of a question.
func (w *world) wire(octets []byte) []byte {
	name := len(octets) - 4
	key := bytes.ToLower(octets[:name])
	key = append(key, octets[name:]...)
	if wire, ok := w.octets[string(key)]; ok {
		return wire
	}
	text, _, err := dns.UnpackDomainName(key, 0)
	if err != nil {
		log.Fatal(err)
	}
	wire := w.packed(question{text, binary.BigEndian.Uint16(octets[name:])})
	w.octets[string(key)] = wire
	return wire
}

// prepare signs all announcements.
func (w *world) prepare() {
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for part := range n {
		wg.Go(func() {
			for i := part; i < w.zones; i += n {
				for _, p := range w.peers(i) {
					for _, t := range []uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS} {
						w.packed(question{"_multi." + zoneName(i) + "_signal." + hostName(p), t})
					}
				}
			}
		})
	}
	wg.Wait()
}

// ServeDNS implements the dns.Handler interface.
func (w *world) ServeDNS(to dns.ResponseWriter, r *dns.Msg) {
	w.asked.Add(1)
	q := r.Question[0]
	wire := slices.Clone(w.packed(question{dns.CanonicalName(q.Name), q.Qtype}))
	if _, err := dns.PackDomainName(q.Name, wire, 12, nil, false); err != nil {
		return
	}
	wire[0], wire[1] = byte(r.Id>>8), byte(r.Id)
	if r.CheckingDisabled {
		wire[3] |= 0x10
	}
	if _, udp := to.RemoteAddr().(*net.UDPAddr); udp && len(wire) > maxSize {
		m := new(dns.Msg)
		m.SetReply(r)
		m.Authoritative, m.Truncated, m.RecursionAvailable = true, true, true
		m.SetEdns0(maxSize, true)
		_ = to.WriteMsg(m)
		return
	}
	_, _ = to.Write(wire)
}

func (w *world) packed(q question) []byte {
	if wire, ok := w.answers.Load(q); ok {
		return wire.([]byte)
	}
	m := w.answer(q)
	wire, err := m.Pack()
	if err != nil {
		log.Fatal(err)
	}
	w.answers.Store(q, wire)
	return wire
}

func (w *world) answer(q question) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.Response, m.Authoritative, m.RecursionDesired, m.RecursionAvailable, m.Compress = true, true, true, true, true
	zone := w.zoneOf(q)
	if rrs := w.records(zone, q); len(rrs) > 0 {
		m.Answer = append(rrs, w.sign(zone, rrs)...)
	} else {
		soa := w.records(zone, question{zone, dns.TypeSOA})
		nsec := []dns.RR{&dns.NSEC{Hdr: header(q.name, dns.TypeNSEC), NextDomain: "\\000." + q.name, TypeBitMap: []uint16{dns.TypeRRSIG, dns.TypeNSEC}}}
		m.Ns = slices.Concat(soa, w.sign(zone, soa), nsec, w.sign(zone, nsec))
	}
	m.SetEdns0(maxSize, true)
	return m
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// zoneOf returns the zone that has the answer.
func (w *world) zoneOf(q question) string {
	name := q.name
	if q.qtype == dns.TypeDS {
		name = above(name)
	}
	for !w.isZone(name) {
		name = above(name)
	}
	return name
}

func above(name string) string {
	if i, end := dns.NextLabel(name, 0); !end {
		return name[i:]
	}
	return "."
}

func (w *world) isZone(name string) bool {
	switch name {
	case ".", "test.", parent, "ours.test.":
		return true
	}
	if _, ok := w.number(name); ok {
		return true
	}
	host, signaling := strings.CutPrefix(name, "_signal.")
	var i int
	if signaling {
		return host == ourHost || scan(host, "ns1.p", ".test.", &i)
	}
	return scan(name, "p", ".test.", &i)
}

// number returns which zone of the fleet has that name.
func (w *world) number(name string) (i int, ok bool) {
	return i, len(name) == len(zoneName(0)) && scan(name, "z", "."+parent, &i) && i < w.zones
}

// scan reads the number between before and behind, if s is what comes of it.
func scan(s, before, behind string, to *int) bool {
	s, ok := strings.CutPrefix(s, before)
	digits, also := strings.CutSuffix(s, behind)
	n, err := strconv.Atoi(digits)
	*to = n
	return ok && also && err == nil
}

// records returns an RRset, without signatures.
func (w *world) records(zone string, q question) []dns.RR {
	if i, ok := w.number(zone); ok && q.name == zone {
		return w.joint(i, zone, q.qtype)
	}
	if host, ok := strings.CutPrefix(zone, "_signal."); ok && strings.HasPrefix(q.name, "_multi.") && host != ourHost {
		name := strings.TrimSuffix(strings.TrimPrefix(q.name, "_multi."), zone)
		i, ok := w.number(name)
		var p int
		if ok && scan(host, "ns1.p", ".test.", &p) && slices.Contains(slices.Collect(values(w.peers(i))), p) {
			return w.announcement(name, host)[q.qtype]
		}
		return nil
	}
	hosts := []string{hostName(0)}
	switch {
	case strings.HasPrefix(zone, "_signal."):
		hosts = []string{strings.TrimPrefix(zone, "_signal.")}
	case zone == "ours.test.":
		hosts = []string{ourHost}
	}
	switch {
	case q.qtype == dns.TypeA && q.name == ourHost:
		return []dns.RR{&dns.A{Hdr: header(q.name, dns.TypeA), A: net.ParseIP(ourAddr)}}
	case q.qtype == dns.TypeA && strings.HasPrefix(q.name, "ns1.p"):
		return []dns.RR{&dns.A{Hdr: header(q.name, dns.TypeA), A: net.ParseIP(worldAddr)}}
	case q.qtype == dns.TypeDS && w.isZone(q.name) && q.name != ".":
		return w.ds(q.name)
	case q.name != zone:
		return nil
	}
	return apex(zone, q.qtype, hosts, []dns.RR{w.key(zone, 257).DNSKEY, w.key(zone, 256).DNSKEY})
}

func cnsRecord(zone, host string) dns.RR {
	rr := dns.TypeToRR[cns.DefaultType]().(*dns.PrivateRR) // mske has registered it
	rr.Hdr, rr.Data = header(zone, cns.DefaultType), &cns.CNS{Host: host}
	return rr
}

// announcement returns what a host announces for a zone, unsigned, by type.
func (w *world) announcement(zone, host string) map[uint16][]dns.RR {
	ksk, zsk := w.key(host, 257), w.key(host, 256)
	name := "_multi." + zone + "_signal." + host
	ds, _ := merge.KeyOf(ksk.DNSKEY).DS(zone, dns.SHA256)
	return map[uint16][]dns.RR{
		dns.TypeDNSKEY:  {owned(zsk, name)},
		dns.TypeCDNSKEY: {owned(ksk, name).ToCDNSKEY()},
		dns.TypeCDS:     {ds.CDS(name, ttl)},
	}
}

func values(p [2]int) func(func(int) bool) { return slices.Values(p[:]) }

// apex returns an RRset at the apex of a zone.
func apex(zone string, qtype uint16, hosts []string, keys []dns.RR) []dns.RR {
	var rrs []dns.RR
	switch qtype {
	case dns.TypeSOA:
		return []dns.RR{&dns.SOA{Hdr: header(zone, dns.TypeSOA), Ns: hosts[0], Mbox: "hostmaster." + hosts[0], Serial: 1, Refresh: 7200, Retry: 3600, Expire: 1209600, Minttl: 300}}
	case dns.TypeNS:
		for _, host := range hosts {
			rrs = append(rrs, &dns.NS{Hdr: header(zone, dns.TypeNS), Ns: host})
		}
	case dns.TypeDNSKEY:
		return slices.Clone(keys)
	}
	return rrs
}

func (w *world) key(zone string, flags uint16) *lab.Key {
	id := question{zone, flags}
	if k, ok := w.keys.Load(id); ok {
		return k.(*lab.Key)
	}
	k, _ := w.keys.LoadOrStore(id, key(zone, flags))
	return k.(*lab.Key)
}

// ds returns the DS RRset of a zone: it has what CDS asks for.
func (w *world) ds(zone string) []dns.RR {
	if _, ok := w.number(zone); !ok {
		ds := w.key(zone, 257).ToDS(dns.SHA256)
		ds.Hdr.Ttl = ttl
		return []dns.RR{ds}
	}
	var rrs []dns.RR
	for _, d := range w.union(zone).CDS {
		cds := d.CDS(zone, ttl)
		ds := cds.DS
		ds.Hdr.Rrtype = dns.TypeDS
		rrs = append(rrs, &ds)
	}
	return rrs
}

// union returns the joint sets of a zone of the fleet.
func (w *world) union(zone string) merge.Joint {
	i, _ := w.number(zone)
	id := func(k *lab.Key) merge.Key { return merge.KeyOf(k.DNSKEY) }
	ksk, zsk := ourKeys(zone)
	local := merge.Local{DNSKEY: []merge.Key{id(ksk), id(zsk)}, SecureEntry: []merge.Key{id(ksk)}}
	ownKSK, ownZSK := w.key(hostName(w.peers(i)[0]), 257), w.key(hostName(w.peers(i)[0]), 256)
	local.DNSKEY = append(local.DNSKEY, id(ownKSK), id(ownZSK))
	local.SecureEntry = append(local.SecureEntry, id(ownKSK))
	other := hostName(w.peers(i)[1])
	local.DNSKEY = append(local.DNSKEY, id(w.key(other, 256)))
	local.SecureEntry = append(local.SecureEntry, id(w.key(other, 257)))
	return merge.Union(zone, local, nil)
}

// joint returns an RRset at the apex of a zone of the fleet, as its first external
// nameserver serves it.
func (w *world) joint(i int, zone string, qtype uint16) []dns.RR {
	hosts := []string{ourHost}
	for _, p := range w.peers(i) {
		hosts = append(hosts, hostName(p))
	}
	var rrs []dns.RR
	switch qtype {
	case cns.DefaultType:
		for _, host := range hosts {
			rrs = append(rrs, cnsRecord(zone, host))
		}
		return rrs
	case dns.TypeCDS:
		for _, d := range w.union(zone).CDS {
			rrs = append(rrs, d.CDS(zone, ttl))
		}
		return rrs
	case dns.TypeCDNSKEY:
		for _, k := range w.union(zone).CDNSKEY {
			rrs = append(rrs, k.CDNSKEY(zone, ttl))
		}
		return rrs
	case dns.TypeDNSKEY:
		for _, k := range w.union(zone).DNSKEY {
			rrs = append(rrs, k.DNSKEY(zone, ttl))
		}
		return rrs
	}
	return apex(zone, qtype, hosts, nil)
}

// sign returns the signatures of a zone over an RRset.
func (w *world) sign(zone string, rrs []dns.RR) []dns.RR {
	of, flags := zone, []uint16{256}
	if i, ok := w.number(zone); ok {
		of = hostName(w.peers(i)[0])
	}
	switch rrs[0].Header().Rrtype {
	case dns.TypeDNSKEY:
		flags = []uint16{257}
	case dns.TypeCDS, dns.TypeCDNSKEY:
		if of != zone {
			flags = []uint16{256, 257}
		}
	}
	var sigs []dns.RR
	for _, f := range flags {
		sigs = append(sigs, signBy(w.key(of, f), zone, rrs, w.from, w.until))
	}
	return sigs
}

func signBy(k *lab.Key, zone string, rrs []dns.RR, from, until uint32) *dns.RRSIG {
	sig := &dns.RRSIG{
		Hdr: header(rrs[0].Header().Name, dns.TypeRRSIG), Algorithm: k.Algorithm, KeyTag: k.KeyTag(), SignerName: zone,
		Inception: from, Expiration: until,
	}
	if err := sig.Sign(k.Signer, rrs); err != nil {
		log.Fatal(err)
	}
	return sig
}
