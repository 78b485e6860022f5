package store

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

// filler gives every field a value of its own.
type filler struct {
	n   int
	sig serve.Signature
}

func (f *filler) fill(t *testing.T, v reflect.Value) {
	f.n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(f.n), int64(f.n)).UTC()))
		return
	case serve.Signature:
		v.Set(reflect.ValueOf(f.sig))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(t, v.Index(0))
		f.fill(t, v.Index(1))
	case reflect.String:
		v.SetString(fmt.Sprint("text", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(uint64(f.n%255 + 1))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(f.n))
	case reflect.Int64:
		v.SetInt(int64(f.n))
	default:
		t.Fatalf("Expected no field of type %v", v.Type())
	}
}

// reread returns z as it is written, and as it is read back.
func reread(t *testing.T, z Zone) (octets []byte, again Zone) {
	t.Helper()
	octets, err := z.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err = parseZone(recordVersion, octets); err != nil {
		t.Fatal(err)
	}
	return octets, again
}

// A field that is not written would be lost with the next restart.
func TestEveryFieldIsKept(t *testing.T) {
	rr, err := dns.NewRR(testSignature)
	if err != nil {
		t.Fatal(err)
	}
	sig := rr.(*dns.RRSIG)
	kept, err := serve.NewSignature(sig, serve.Digest{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	f := filler{sig: kept}
	var z Zone
	f.fill(t, reflect.ValueOf(&z).Elem())
	octets, got := reread(t, z)
	if !reflect.DeepEqual(got, z) {
		t.Errorf("Expected\n%+v\ngot\n%+v", z, got)
	}
	for n := range octets {
		if _, err := parseZone(recordVersion, octets[:n]); err == nil {
			t.Errorf("Expected the first %d octets of %d to be refused", n, len(octets))
		}
	}
}

// Bool fields tell whether they are mixed up only when one of them is true.
func TestTruthsAreNotMixedUp(t *testing.T) {
	of := func(z *Zone) []*bool {
		o, h := &z.Own[0], &z.Life.Hosts[0]
		return []*bool{&z.HasCNS, &z.HasCSYNC, &z.Delegation.CSYNC, &o.SecureEntry, &o.SignsKeys, &o.SignsData, &o.Chain, &o.Signed, &h.Delegated, &h.ParentRead, &h.Differs}
	}
	const truths = 11
	for i := range truths {
		z := testZone("example.org.", 1)
		if n := len(of(&z)); n != truths {
			t.Fatalf("Expected %d truths, got %d", truths, n)
		}
		for j, b := range of(&z) {
			*b = i == j
		}
		_, got := reread(t, z)
		for j, b := range of(&got) {
			if *b != (i == j) {
				t.Errorf("Expected truth %d alone, got %d %v", i, j, *b)
			}
		}
	}
}
