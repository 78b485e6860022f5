package fetch

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

func TestCheckRSA(t *testing.T) {
	modulus := func(bits int) []byte {
		n := make([]byte, bits/8)
		n[0], n[len(n)-1] = 0x80, 1
		return n
	}
	key := func(exponent []byte, n []byte) []byte {
		return append(append([]byte{byte(len(exponent))}, exponent...), n...)
	}
	e := []byte{1, 0, 1}
	long := append([]byte{0, 0, 3}, append(e, modulus(2048)...)...)
	even := modulus(2048)
	even[len(even)-1] = 0
	tests := []struct {
		name   string
		octets []byte
		ok     bool
	}{
		{"1024 bits", key(e, modulus(1024)), true},
		{"4096 bits", key(e, modulus(4096)), true},
		{"exponent length in three octets", long, true},
		{"exponent 3", key([]byte{3}, modulus(2048)), true},
		{"1016 bits", key(e, modulus(1016)), false},
		{"4104 bits", key(e, modulus(4104)), false},
		{"1023 bits", key(e, append([]byte{0x7f}, modulus(1016)...)), false},
		{"leading zero in the modulus", key(e, append([]byte{0}, modulus(2048)...)), false},
		{"leading zero in the exponent", key([]byte{0, 1, 0, 1}, modulus(2048)), false},
		{"even modulus", key(e, even), false},
		{"even exponent", key([]byte{4}, modulus(2048)), false},
		{"exponent 1", key([]byte{1}, modulus(2048)), false},
		{"exponent of 33 bits", key([]byte{1, 0, 0, 0, 1}, modulus(2048)), false},
		{"no exponent", append([]byte{0, 0, 0}, modulus(2048)...), false},
		{"exponent beyond the end", []byte{200, 1, 0, 1}, false},
		{"nothing", nil, false},
	}
	for _, tc := range tests {
		if fault := checkRSA(tc.octets); (fault == "") != tc.ok {
			t.Errorf("%s: Expected ok %t, got %q", tc.name, tc.ok, fault)
		}
	}
}

// FuzzPolicy holds that whatever passes the rules is an announcement that can
// be served: every key usable, every digest strong or superfluous.
func FuzzPolicy(f *testing.F) {
	add := func(rrs ...dns.RR) {
		m := &dns.Msg{Answer: rrs}
		p, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	k := merge.KeyOf(ksk.DNSKEY)
	d, _ := k.DS(zone, dns.SHA256)
	z := merge.KeyOf(zsk.DNSKEY)
	add(z.DNSKEY(owner, 60), k.CDNSKEY(owner, 60), d.CDS(owner, 60))
	add(z.DNSKEY(owner, 60), deleteKey.CDNSKEY(owner, 60), deleteDS.CDS(owner, 60))
	add(k.DNSKEY(owner, 60), d.CDS(owner, 60))

	f.Fuzz(func(t *testing.T, p []byte) {
		m := new(dns.Msg)
		if m.Unpack(p) != nil {
			return
		}
		var a merge.Announcement
		for _, qtype := range types {
			var rrs []dns.RR
			for _, rr := range m.Answer {
				if rr.Header().Rrtype == qtype {
					rrs = append(rrs, rr)
				}
			}
			if checkRecords(owner, qtype, rrs) != nil {
				return
			}
			switch qtype {
			case dns.TypeDNSKEY:
				a.DNSKEY = keysOf(rrs)
			case dns.TypeCDNSKEY:
				a.CDNSKEY = keysOf(rrs)
			case dns.TypeCDS:
				a.CDS = digestsOf(rrs)
			}
		}
		if checkUnit(zone, owner, a) != nil {
			return
		}
		if len(a.DNSKEY) == 0 || len(a.CDNSKEY)+len(a.CDS) == 0 || len(a.DNSKEY) > maxKeys {
			t.Errorf("Expected a complete announcement, got %v", a)
		}
		for _, k := range append(a.DNSKEY, a.CDNSKEY...) {
			if k.Flags&dns.ZONE == 0 || k.Flags&dns.REVOKE != 0 || k.Protocol != 3 || k.DNSKEY(zone, 0).ToDS(dns.SHA256) == nil {
				t.Errorf("Expected usable keys, got %v", k)
			}
		}
		for _, k := range a.CDNSKEY {
			if d, _ := k.DS(zone, dns.SHA256); len(a.CDS) > 0 && mismatch(zone, []merge.Key{k}, []merge.DS{d}) != "" {
				t.Errorf("Expected that a key fits its digest: %v", k)
			}
		}
	})
}
