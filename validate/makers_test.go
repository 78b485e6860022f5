package validate_test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestMakersAreTheKeysThatSigned(t *testing.T) {
	l := hierarchy(t)
	at := now
	v := validate.New(anchors(t, l), validate.Options{Now: func() time.Time { return at }})
	const name = "ns1.example.net."
	r, err := v.Lookup(t.Context(), l, name, dns.TypeA)
	if err != nil || r.Status != validate.Secure || r.Key == (validate.Fingerprint{}) {
		t.Fatal(r, err)
	}
	mx, err := v.Lookup(t.Context(), l, "example.net.", dns.TypeMX)
	if err != nil || mx.Key != r.Key {
		t.Fatalf("Expected the key %x, got %v, %v", r.Key, mx, err)
	}
	makers := func(name string, edits ...func(sig *dns.RRSIG)) (validate.Fingerprint, bool) {
		sig := *r.Sig
		for _, edit := range edits {
			edit(&sig)
		}
		keys := make([]validate.Fingerprint, 2)
		ok := v.Makers(name, []*dns.RRSIG{r.Sig, &sig}, keys)
		return keys[1], ok
	}
	if got, ok := makers(name); !ok || got != r.Key {
		t.Errorf("Expected the key %x, got %x, %t", r.Key, got, ok)
	}
	for what, edit := range map[string]func(sig *dns.RRSIG){
		"another key's tag":       func(sig *dns.RRSIG) { sig.KeyTag++ },
		"another algorithm":       func(sig *dns.RRSIG) { sig.Algorithm = dns.ED25519 },
		"a zone above":            func(sig *dns.RRSIG) { sig.SignerName = "net." },
		"a zone beside":           func(sig *dns.RRSIG) { sig.SignerName = "example.org." },
		"a zone that is unknown":  func(sig *dns.RRSIG) { sig.SignerName = "ns1.example.net." },
		"a wildcard":              func(sig *dns.RRSIG) { sig.Labels-- },
		"too many labels":         func(sig *dns.RRSIG) { sig.Labels++ },
		"over":                    func(sig *dns.RRSIG) { sig.Expiration = uint32(now.Unix()) - 1 },
		"not yet":                 func(sig *dns.RRSIG) { sig.Inception = uint32(now.Unix()) + 1 },
		"of DS, the parent's":     func(sig *dns.RRSIG) { sig.TypeCovered = dns.TypeDS },
		"expired before it began": func(sig *dns.RRSIG) { sig.Inception, sig.Expiration = sig.Expiration, sig.Inception },
	} {
		if got, ok := makers(name, edit); ok {
			t.Errorf("%s: Expected no key, got %x", what, got)
		}
	}
	if _, ok := makers("ns1.example.org."); ok {
		t.Error("Expected no key for a name that is not in the zone")
	}
	at = now.Add(25 * time.Hour)
	if _, ok := makers(name, func(sig *dns.RRSIG) { sig.Expiration += 1 << 20 }); ok {
		t.Error("Expected no key of a zone that is no longer known")
	}
}

func TestMakersAreOfZonesThatAreSecure(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	r, err := v.Lookup(t.Context(), l, "ns1.nods.uk.", dns.TypeA)
	if err != nil || r.Status != validate.Insecure {
		t.Fatal(r, err)
	}
	m := ask(t, l, "ns1.nods.uk.", dns.TypeA)
	for _, rr := range m.Answer {
		if sig, ok := rr.(*dns.RRSIG); ok && v.Makers("ns1.nods.uk.", []*dns.RRSIG{sig}, make([]validate.Fingerprint, 1)) {
			t.Error("Expected no key of an insecure zone")
		}
	}
}

// Of two keys with one tag and algorithm, none can be said to be the one.
func TestMakersAreNotGuessed(t *testing.T) {
	a, b := twins(256)
	l := hierarchy(t)
	ksk := lab.NewKey("example.net.", dns.ED25519, 257, "")
	for _, keys := range [][]*lab.Key{{ksk, a}, {ksk, a, b}} {
		l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: keys})
		v := validator(t, l)
		r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
		if err != nil || r.Status != validate.Secure {
			t.Fatal(r, err)
		}
		if ok := v.Makers("ns1.example.net.", []*dns.RRSIG{r.Sig}, make([]validate.Fingerprint, 1)); ok != (len(keys) == 2) {
			t.Errorf("%d keys: Expected %t, got %t", len(keys), !ok, ok)
		}
	}
}
